<?php
// No packages needed: PRIVATE_KEY=... php -S 127.0.0.1:8000 receiver.php     (without PRIVATE_KEY it answers the handshake only)
// Behind Apache with CGI or FPM, set "CGIPassAuth On": else PHP does not see the Authorization header.
declare(strict_types=1);

function answer(int $status, array $body): void
{
    http_response_code($status);
    header('Content-Type: application/json');
    echo json_encode($body);
}

if ($_SERVER['REQUEST_METHOD'] !== 'POST') {
    answer(405, ['error' => 'POST only']);
    return;
}

// The handshake: it carries no Authorization, so answer it before the key is checked.
$challenge = $_SERVER['HTTP_X_ACCESSGRID_WEBHOOK_CHALLENGE'] ?? null;
if ($challenge !== null) {
    answer(200, ['challenge' => $challenge]);
    return;
}

$privateKey = getenv('PRIVATE_KEY') ?: ''; // shown once, when the webhook is created
if ($privateKey === '' || !hash_equals("Bearer $privateKey", $_SERVER['HTTP_AUTHORIZATION'] ?? '')) { // in constant time
    answer(401, ['error' => 'wrong key']);
    return;
}

$event = json_decode(file_get_contents('php://input'), true); // a CloudEvent; its content type is application/cloudevents+json
if (!is_string($event['id'] ?? null)) {
    answer(400, ['error' => 'not an event']);
    return;
}

// An event may come twice, even at the same moment: take each id once. For real, insert the event into your database under its id,
// and keep it for a day: retries end after 6 hours, but a person may send an event again. Here, making a file fails if it is there.
$seen = getenv('SEEN') ?: sys_get_temp_dir() . '/webhook-events';
@mkdir($seen, 0700, true);
$isNew = @fopen($seen . '/' . hash('sha256', $event['id']), 'x') !== false;

answer(200, ['received' => true]); // to the second one too, and within 15 seconds
if (function_exists('fastcgi_finish_request')) {
    fastcgi_finish_request(); // PHP-FPM: the answer leaves now, and the work goes on
}
if ($isNew) {
    // $event['test'] is true on events made by "Send Test"
    error_log(implode(' ', [$event['type'], $event['id'], ($event['test'] ?? false) ? '(test)' : '', json_encode($event['data'])]));
}
