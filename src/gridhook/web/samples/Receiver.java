// A Maven project of https://start.spring.io with "Spring Web" (Java 17 or newer), this file in place of its application class; then
// PRIVATE_KEY=... SERVER_PORT=8000 ./mvnw spring-boot:run     (without PRIVATE_KEY it answers the handshake only)
package com.example.demo;

import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import org.springframework.boot.SpringApplication;
import org.springframework.boot.autoconfigure.SpringBootApplication;
import org.springframework.http.ResponseEntity;
import org.springframework.web.bind.annotation.PostMapping;
import org.springframework.web.bind.annotation.RequestBody;
import org.springframework.web.bind.annotation.RequestHeader;
import org.springframework.web.bind.annotation.RestController;

@SpringBootApplication
@RestController
public class Receiver {
    private static final String PRIVATE_KEY = Objects.requireNonNullElse(System.getenv("PRIVATE_KEY"), ""); // shown once, at creation

    // Keep these ids in your database, for a day: retries end after 6 hours, but a person may send an event again.
    private final Set<String> seen = ConcurrentHashMap.newKeySet();
    private final ExecutorService later = Executors.newSingleThreadExecutor();

    // The body is a CloudEvent: Spring reads application/cloudevents+json as it reads application/json.
    @PostMapping("/webhook")
    public ResponseEntity<Map<String, Object>> webhook(
            @RequestHeader(name = "X-AccessGrid-Webhook-Challenge", required = false) String challenge,
            @RequestHeader(name = "Authorization", defaultValue = "") String authorization,
            @RequestBody Map<String, Object> event) {
        // The handshake: it carries no Authorization, so answer it before the key is checked.
        if (challenge != null) return ResponseEntity.ok(Map.of("challenge", challenge));

        byte[] given = authorization.getBytes(StandardCharsets.UTF_8);
        byte[] expected = ("Bearer " + PRIVATE_KEY).getBytes(StandardCharsets.UTF_8);
        if (PRIVATE_KEY.isEmpty() || !MessageDigest.isEqual(given, expected)) return ResponseEntity.status(401).build();

        // An event may come twice, even at the same moment: take each id once.
        if (seen.add((String) event.get("id"))) later.submit(() -> workOn(event)); // for real, store it first: your 200 makes it yours
        return ResponseEntity.ok(Map.of("received", true)); // the second one gets 200 too; answer within 15 seconds
    }

    private void workOn(Map<String, Object> event) { // event.get("test") is true on events made by "Send Test"
        System.out.println(event.get("type") + " " + event.get("id") + " " + event.getOrDefault("test", false) + " " + event.get("data"));
    }

    public static void main(String[] args) {
        SpringApplication.run(Receiver.class, args);
    }
}
