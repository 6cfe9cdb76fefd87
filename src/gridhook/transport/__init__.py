"""Transport speaks: the one door to the network. It resolves, vets and sends; nothing else opens an outgoing socket."""
