// Go 1.22 or newer, no packages: PRIVATE_KEY=... go run receiver.go     (without PRIVATE_KEY it answers the handshake only)
package main

import (
	"cmp"
	"crypto/subtle"
	"encoding/json"
	"log"
	"net/http"
	"os"
	"sync"
	"time"
)

type Event struct { // a CloudEvent
	ID   string          `json:"id"`
	Type string          `json:"type"`
	Time time.Time       `json:"time"`
	Test bool            `json:"test"` // true on events made by "Send Test"
	Data json.RawMessage `json:"data"`
}

var (
	privateKey = os.Getenv("PRIVATE_KEY") // shown once, when the webhook is created
	// Keep these ids in your database, for a day: retries end after 6 hours, but a person may send an event again.
	seen    sync.Map
	waiting = make(chan Event, 1000)
)

func webhook(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")

	// The handshake: it carries no Authorization, so answer it before the key is checked.
	if challenge := r.Header.Get("X-AccessGrid-Webhook-Challenge"); challenge != "" {
		json.NewEncoder(w).Encode(map[string]string{"challenge": challenge})
		return
	}
	given, expected := []byte(r.Header.Get("Authorization")), []byte("Bearer "+privateKey)
	if privateKey == "" || subtle.ConstantTimeCompare(given, expected) != 1 {
		http.Error(w, `{"error": "wrong key"}`, http.StatusUnauthorized)
		return
	}
	var event Event // the content type is application/cloudevents+json
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20)).Decode(&event); err != nil {
		http.Error(w, `{"error": "not an event"}`, http.StatusBadRequest)
		return
	}
	if _, known := seen.LoadOrStore(event.ID, true); !known { // an event may come twice: take each id once
		waiting <- event // for real, store the whole event here: after your 200 it is yours
	}
	w.Write([]byte(`{"received": true}`)) // the second one gets 200 too; answer within 15 seconds
}

func main() {
	go func() {
		for event := range waiting {
			log.Println(event.Type, event.ID, event.Test, string(event.Data))
		}
	}()
	http.HandleFunc("POST /webhook", webhook)
	log.Fatal(http.ListenAndServe(":"+cmp.Or(os.Getenv("PORT"), "8000"), nil))
}
