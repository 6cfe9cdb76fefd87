"""What an operator may open and close, and what stays shut whatever is opened around it."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

import pytest

from gridhook.errors import Misconfigured
from gridhook.rules.addresses import AddressPolicy, refusal

EVERYTHING = ["0.0.0.0/0", "::/0"]
SEALED = [
    "169.254.169.254",
    "169.254.170.2",
    "169.254.0.1",
    "100.100.100.200",
    "168.63.129.16",
    "192.0.0.192",
    "fe80::1",
    "fd00:ec2::254",
    "fd20:ce::254",
]
SPELLINGS = [
    "::ffff:169.254.169.254",
    "::a9fe:a9fe",
    "::ffff:0:a9fe:a9fe",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::a9fe:a9fe",
    "64:ff9b:1:a9fe:a9:fe00::",
    "2002:a9fe:a9fe::1",
    "2001:0:a9fe:a9fe::1",
    "2001:0:102:304:0:0:5601:5601",
    "2606:4700::5efe:a9fe:a9fe",
]


def open_to(ip: str, host: str | None = None, **texts: Any) -> bool:
    return refusal(ip_address(ip), AddressPolicy.from_texts(**texts), host) is None


def test_an_allowed_network_opens_what_is_in_it_and_nothing_else():
    assert open_to("10.1.2.3", allow_networks=["10.1.0.0/16"])
    assert not open_to("10.2.2.3", allow_networks=["10.1.0.0/16"])
    assert open_to("::1", allow_networks=["::1/128"])


@pytest.mark.parametrize("ip", [*SEALED, *SPELLINGS])
def test_metadata_and_link_local_stay_shut_however_wide_a_network_is_allowed(ip):
    assert not open_to(ip, allow_networks=EVERYTHING)


@pytest.mark.parametrize("ip", [*SEALED, *SPELLINGS])
def test_metadata_and_link_local_stay_shut_for_an_allowed_host(ip):
    assert not open_to(ip, host="db.corp", allow_hosts=["db.corp"])


@pytest.mark.parametrize("ip", SEALED)
def test_metadata_and_link_local_open_to_an_operator_who_names_the_very_address(ip):
    assert open_to(ip, allow_networks=[ip])
    assert not open_to("169.254.99.99", allow_networks=[ip])


def test_an_allowed_host_opens_private_addresses_to_its_own_name_only():
    assert open_to("172.18.0.5", host="receiver", allow_hosts=["Receiver."])
    assert not open_to("172.18.0.5", host="other", allow_hosts=["receiver"])
    assert not open_to("172.18.0.5", allow_hosts=["receiver"])


@pytest.mark.parametrize("ip", ["8.8.4.4", "10.0.0.5", "::ffff:8.8.4.4"])
def test_what_the_operator_refuses_stays_refused_even_if_also_allowed(ip):
    texts: dict[str, Any] = {"extra_refuse": ["8.8.4.0/24", "10.0.0.5"], "allow_networks": [*EVERYTHING, ip], "allow_hosts": ["a.example"]}
    assert not open_to(ip, host="a.example", **texts)


def test_a_declared_nat64_prefix_is_judged_by_the_ipv4_address_behind_it():
    texts: dict[str, Any] = {"nat64_prefixes": ["2001:db8:64::/96"]}
    assert open_to("2001:db8:64::808:808", **texts)
    assert not open_to("2001:db8:64::a00:1", **texts)
    assert not open_to("2001:db8:64::a9fe:a9fe", allow_networks=EVERYTHING, **texts)
    assert not open_to("2001:db8:65::808:808", **texts)


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        ({"allow_networks": ["10.0.0.5/8"]}, "GRIDHOOK_ALLOW_NETWORKS: 10.0.0.5/8 has host bits set"),
        ({"allow_networks": ["169.254.0.0/16"]}, "name each address you need on its own, with /32"),
        ({"allow_networks": ["fe80::/64"]}, "name each address you need on its own, with /128"),
        ({"extra_refuse": ["db.corp"]}, "GRIDHOOK_REFUSE_NETWORKS: 'db.corp'"),
        ({"nat64_prefixes": ["64:ff9b::/64"]}, "is not an IPv6 /96"),
        ({"nat64_prefixes": ["10.0.0.0/8"]}, "is not an IPv6 /96"),
        ({"allow_hosts": ["127.0.0.1"]}, "put it in GRIDHOOK_ALLOW_NETWORKS as 127.0.0.1/32"),
        ({"allow_hosts": ["http://db.corp/"]}, "write a host name alone"),
        ({"allow_hosts": ["db.corp:8080"]}, "write a host name alone"),
        ({"allow_ports": [0]}, "0 is not a port"),
    ],
)
def test_a_setting_that_cannot_mean_what_it_says_stops_the_start_and_says_what_to_write(texts, said):
    with pytest.raises(Misconfigured) as caught:
        AddressPolicy.from_texts(**texts)
    assert said in str(caught.value)
