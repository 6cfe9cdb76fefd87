// .NET 8 or newer: dotnet new web -o receiver, put this in place of its Program.cs, then in receiver:
// PRIVATE_KEY=... dotnet run --urls http://127.0.0.1:8000     (without PRIVATE_KEY it answers the handshake only)
using System.Collections.Concurrent;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using System.Threading.Channels;

var builder = WebApplication.CreateBuilder(args);
builder.Services.AddSingleton(Channel.CreateUnbounded<JsonElement>());
builder.Services.AddHostedService<Worker>();
var app = builder.Build();

var privateKey = Environment.GetEnvironmentVariable("PRIVATE_KEY") ?? ""; // shown once, when the webhook is created
var expected = Encoding.UTF8.GetBytes($"Bearer {privateKey}");
// Keep these ids in your database, for a day: retries end after 6 hours, but a person may send an event again.
var seen = new ConcurrentDictionary<string, bool>();

app.MapPost("/webhook", async (HttpRequest request, Channel<JsonElement> waiting) =>
{
    // The handshake: it carries no Authorization, so answer it before the key is checked.
    if (request.Headers.TryGetValue("X-AccessGrid-Webhook-Challenge", out var challenge))
        return Results.Json(new { challenge = challenge.ToString() });

    var given = Encoding.UTF8.GetBytes(request.Headers.Authorization.ToString());
    if (privateKey == "" || !CryptographicOperations.FixedTimeEquals(given, expected))
        return Results.Unauthorized();

    // A CloudEvent; its content type is application/cloudevents+json.
    var @event = await JsonSerializer.DeserializeAsync<JsonElement>(request.Body);
    // An event may come twice, even at the same moment: take each id once.
    if (seen.TryAdd(@event.GetProperty("id").GetString()!, true))
        await waiting.Writer.WriteAsync(@event); // for real, store the whole event here: after your 200 it is yours
    return Results.Json(new { received = true }); // the second one gets 200 too; answer within 15 seconds
});

app.Run();

class Worker(Channel<JsonElement> waiting, ILogger<Worker> log) : BackgroundService
{
    protected override async Task ExecuteAsync(CancellationToken stopping)
    {
        await foreach (var @event in waiting.Reader.ReadAllAsync(stopping))
        {
            var isTest = @event.TryGetProperty("test", out var test) && test.GetBoolean(); // made by "Send Test"
            log.LogInformation("{Test} {Event}", isTest ? "Test:" : "Event:", @event);
        }
    }
}
