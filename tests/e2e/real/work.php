<?php
/* What PHP's library does in a function: each query string is one part. */
header('Content-Type: text/plain');
set_error_handler(function ($no, $text, $file, $line) {
	throw new ErrorException($text, 0, $no, $file, $line);
});

function claim($is_true, $what)
{
	if (!$is_true)
		throw new Exception($what);
}

function part_opcache()
{
	$status = opcache_get_status(false);
	claim($status['opcache_enabled'], 'opcache is off');
	claim($status['jit']['on'], 'the JIT is off');
	$sum = 0;
	for ($i = 0; $i < 3000000; $i++)
		$sum = ($sum + $i * 7) % 1000003;
	claim($status['jit']['buffer_free'] < $status['jit']['buffer_size'],
	    'nothing was compiled');
	return $sum;
}

/* A page that computes for longer than it may is told so. */
function part_limit()
{
	set_time_limit(1);
	while (true)
		sqrt(2);
}

function part_session()
{
	session_start();
	$_SESSION['hits'] = ($_SESSION['hits'] ?? 0) + 1;
	session_write_close();
	return session_save_path() . ' ' . $_SESSION['hits'];
}

function part_sqlite()
{
	$db = new PDO('sqlite:/data/php.db');
	$db->setAttribute(PDO::ATTR_ERRMODE, PDO::ERRMODE_EXCEPTION);
	$mode = $db->query('PRAGMA journal_mode = WAL')->fetchColumn();
	claim($mode === 'wal', $mode);
	$db->exec('CREATE TABLE IF NOT EXISTS t (a TEXT)');
	$db->prepare('INSERT INTO t VALUES (?)')->execute(['ä']);
	return $db->query('SELECT a FROM t')->fetchColumn();
}

function part_strings()
{
	claim(mb_strtoupper('straße') === 'STRASSE', mb_strtoupper('straße'));
	claim(preg_match('/^\p{Lu}+$/u', 'ÄÖ') === 1, 'PCRE without its JIT?');
	claim(ini_get('pcre.jit') === '1', 'pcre.jit is off');
	$key = openssl_pkey_new(['private_key_bits' => 2048]);
	claim($key !== false, openssl_error_string());
	claim(sodium_crypto_secretbox_keygen() !== '', 'sodium');
	claim(password_verify('x', password_hash('x', PASSWORD_ARGON2ID,
	    ['memory_cost' => 8192])), 'Argon2');
	setlocale(LC_ALL, 'C.UTF-8');
	date_default_timezone_set('Asia/Tokyo');
	return date('H', 0) . ' ' . mb_strlen('äöü');
}

function part_image()
{
	$image = imagecreatetruecolor(800, 600);
	imagefilledellipse($image, 400, 300, 300, 200, 0xff0000);
	$small = imagescale($image, 80, 60);
	imagepng($small, '/tmp/small.png');
	imagejpeg($small, '/tmp/small.jpg');
	[$width, $height] = getimagesize('/tmp/small.jpg');
	return "$width x $height";
}

function part_processes()
{
	$pipes = [];
	$child = proc_open(['tr', 'a-z', 'A-Z'], [['pipe', 'r'], ['pipe', 'w']],
	    $pipes);
	fwrite($pipes[0], 'through a child');
	fclose($pipes[0]);
	$text = stream_get_contents($pipes[1]);
	proc_close($child);
	claim($text === 'THROUGH A CHILD', $text);
	return trim(shell_exec('expr 6 \* 7'));
}

function part_files()
{
	$name = tempnam('/tmp', 'p');
	file_put_contents($name, str_repeat('x', 100000), LOCK_EX);
	copy($name, '/data/copy');
	rename('/data/copy', '/data/renamed');
	$zip = gzencode(file_get_contents('/data/renamed'));
	claim(strlen(gzdecode($zip)) === 100000, 'gzip');
	$found = new FilesystemIterator('/tmp');
	return iterator_count($found) . ' ' . sys_get_temp_dir();
}

function part_network()
{
	try {
		stream_socket_client('tcp://127.0.0.1:8', $number, $text, 2);
	} catch (ErrorException $error) {
		return 'no network';
	}
	throw new Exception('connected');
}

$part = $_SERVER['QUERY_STRING'];
try {
	$text = "$part: ok " . ('part_' . $part)();
} catch (Throwable $error) {
	http_response_code(500);
	$text = (string)$error;
}
echo $text;
