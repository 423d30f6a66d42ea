<?php
/* A page with one act for each PATH_INFO, for test_runtime_php.py. */
header('Content-Type: text/plain');

function act_facts()
{
	echo json_encode(['pid' => getmypid(), 'greeting' => getenv('GREETING'),
	    'method' => $_SERVER['REQUEST_METHOD'], 'q' => $_GET['q'] ?? null,
	    'id' => $_SERVER['REQUEST_ID'], 'path' => $_SERVER['PATH_INFO'],
	    'script' => $_SERVER['SCRIPT_NAME']]);
}

function act_echo()
{
	header('Content-Type: x/y');
	stream_copy_to_stream(fopen('php://input', 'rb'),
	    fopen('php://output', 'wb'));
}

function act_throw()
{
	throw new RuntimeException('words for the log alone');
}

function act_fatal()
{
	not_defined_anywhere();
}

function act_print()
{
	error_log('said to the log');
	file_put_contents('php://stderr', "written to stderr\n");
	fprintf(STDERR_OR_LOG(), "through a handle\n");
	echo 'ok';
}

function STDERR_OR_LOG()
{
	return fopen('php://stderr', 'wb');
}

function act_events()
{
	while (ob_get_level() > 0)
		ob_end_flush();
	echo "data: first\n\n";
	flush();
	while (!file_exists(getenv('GOES_ON') ?: '/data/php-goes-on')) {
		clearstatcache();
		usleep(10000);
	}
	echo "data: more\n\n";
}

function act_cookies()
{
	setcookie('a', '1');
	setcookie('b', '2');
	http_response_code(204);
}

function act_split()
{
	header("X-Bad: a\r\nX-Split: b");
	echo 'behind the header';
}

function act_cache()
{
	$status = opcache_get_status(true);
	echo json_encode(['cache' => ini_get('opcache.file_cache'),
	    'hits' => $status['opcache_statistics']['hits'],
	    'cached' => array_keys($status['scripts'] ?? [])]);
}

('act_' . trim($_SERVER['PATH_INFO'], '/'))();
