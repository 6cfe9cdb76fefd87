# gem install sinatra rackup puma
# PRIVATE_KEY=... APP_ENV=production ruby receiver.rb -p 8000     (without PRIVATE_KEY it answers the handshake only)
# In its development environment, Sinatra answers 403 to host names that it does not know.
require "json"
require "sinatra"

PRIVATE_KEY = ENV.fetch("PRIVATE_KEY", "") # shown once, when the webhook is created
SEEN = {} # keep these ids in your database, for a day: retries end after 6 hours, but a person may send an event again
LOOKING = Mutex.new
WAITING = Queue.new

post "/webhook" do
  content_type :json

  # The handshake: it carries no Authorization, so answer it before the key is checked.
  challenge = request.get_header("HTTP_X_ACCESSGRID_WEBHOOK_CHALLENGE")
  return JSON.generate(challenge: challenge) if challenge

  given = request.get_header("HTTP_AUTHORIZATION").to_s
  if PRIVATE_KEY.empty? || !Rack::Utils.secure_compare(given, "Bearer #{PRIVATE_KEY}") # in constant time
    halt 401, JSON.generate(error: "wrong key")
  end

  event = JSON.parse(request.body.read) # a CloudEvent; its content type is application/cloudevents+json
  # An event may come twice, even at the same moment: take each id once.
  is_new = LOOKING.synchronize { SEEN.key?(event["id"]) ? false : (SEEN[event["id"]] = true) }
  WAITING << event if is_new # for real, store the whole event here: after your 200 it is yours
  JSON.generate(received: true) # the second one gets 200 too; answer within 15 seconds
end

Thread.new do
  while (event = WAITING.pop)
    # event["test"] is true on events made by "Send Test"
    puts [event["type"], event["id"], event["test"] ? "(test)" : "", event["data"].to_json].join(" ")
    $stdout.flush
  end
end
