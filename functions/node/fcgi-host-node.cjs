#!/usr/bin/node
'use strict';
/*
 * fcgi-host-node.cjs FILE: loads one function and serves it by FastCGI on
 * descriptor 0, one request at a time, again and again.
 * fcgi-host-node.cjs --check FILE: looks at its syntax and runs nothing.
 *
 * With FCGI_HOST_SPARE=1 it gets ready, with the modules that FCGI_HOST_PRELOAD
 * names, and reads nothing of the function before the first connection.
 */

/*
 * What fcgi-host-node says of the heap has been heard when this runs.  While such a
 * flag stands, V8 holds what is compiled in node itself for another program's, and
 * compiles it anew: half of a start.  So it is taken back, before all else is
 * loaded; by the binding, since node:v8 would be the first to be compiled.
 */
(function forgetFlags() {
	if (!process.execArgv.some((word) => word.startsWith('--max-semi-space')))
		return;
	const { noDeprecation } = process;
	let v8 = null;

	process.noDeprecation = true;
	try {
		v8 = process.binding('v8');
	} catch {
		/* this node has none */
	}
	process.noDeprecation = noDeprecation;
	if (typeof v8?.setFlagsFromString !== 'function')
		v8 = require('node:v8');
	v8.setFlagsFromString('--max-semi-space-size=0');
	v8.setFlagsFromString('--max-old-space-size=0');
})();

const net = require('node:net');
const { writeSync } = require('node:fs');
const { Connection } = require('./fastcgi.cjs');
const { checkSyntax, load } = require('./load.cjs');

const EXIT_FAILED = 1, EXIT_USAGE = 2;
const LOG_FD = 2;
const TEXT = 'Content-Type: text/plain\r\n\r\n';
const FAILED = Buffer.from('Status: 500 Internal Server Error\r\n' + TEXT +
    'Internal Server Error\n');

/* ---- the log ---- */

/* All of it before it returns: what is said in a request is said before its
 * end. */
function say(bytes) {
	for (let at = 0; at < bytes.length;) {
		try {
			at += writeSync(LOG_FD, bytes, at);
		} catch (error) {
			if (error.code !== 'EAGAIN')
				return;
			Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 5);
		}
	}
}

function tell(error) {
	let words;

	try {
		words = require('node:util').inspect(error);
	} catch {
		words = 'an error that cannot be shown';
	}
	say(Buffer.from(`${words}\n`));
}

/* stdout is not the answer: both are the log. */
function redirect() {
	let log = null;

	function stream() {
		if (log === null) {
			const { Writable } = require('node:stream');

			log = new Writable({ write(bytes, encoding, done) {
				say(bytes);
				done();
			} });
			log.fd = LOG_FD;
		}
		return log;
	}
	for (const name of ['stdout', 'stderr'])
		Object.defineProperty(process, name,
		    { get: stream, enumerable: true, configurable: true });
}

/* ---- serving ---- */

/* What serves a kind of handler is loaded when there is one. */
function serveOf(kind) {
	return kind === 'fetch' ? require('./fetch.cjs').serve :
	    require('./incoming.cjs').serve;
}

/* One request is executed at a time, whatever connection it came on. */
class Server {
	constructor(file, isSpare) {
		this.file = file;
		this.isSpare = isSpare;
		this.serveOne = null;  /* the handler, once it is loaded */
		this.hasFailed = false;
		this.current = null;
		this.waiting = [];
		this.connections = new Set();
		this.isEnding = false;
		this.exitCode = 0;
		this.listener = net.createServer((socket) => this.accept(socket));
	}

	listen() {
		this.listener.on('error', (error) => {
			say(Buffer.from(`fcgi-host-node: descriptor 0 is to be a ` +
			    `listening socket: ${error.message}\n`));
			process.exit(EXIT_FAILED);
		});
		this.listener.listen({ fd: 0 });
	}

	accept(socket) {
		const connection = new Connection(socket, {
			began: (exchange) => this.began(exchange),
			left: () => this.left(),
		});

		this.connections.add(connection);
		socket.on('close', () => {
			this.connections.delete(connection);
			this.maybeExit();
		});
		if (this.isSpare) {
			this.isSpare = false;
			this.load();
		}
	}

	async load() {
		try {
			const { kind, handler } = await load(this.file);
			const serve = serveOf(kind);

			this.serveOne = (exchange) => serve(exchange, handler, tell);
		} catch (error) {
			this.tellWhere(error);
			tell(error);
			this.hasFailed = true;
		}
		this.next();
	}

	/* The trace of a syntax error in a module does not say where it is. */
	tellWhere(error) {
		const where = error instanceof SyntaxError ?
		    checkSyntax(this.file) : null;

		if (where !== null)
			say(Buffer.from(`${where}\n`));
	}

	began(exchange) {
		this.waiting.push(exchange);
		this.next();
	}

	next() {
		/* whose client left while it waited is not executed */
		while (this.waiting[0]?.isGone)
			this.waiting.shift().end(0);
		if (this.current !== null || this.waiting.length === 0)
			return;
		if (this.hasFailed) {
			this.end(EXIT_FAILED);
			this.fail(this.waiting.shift());
		} else if (this.serveOne !== null) {
			this.current = this.waiting.shift();
			this.execute(this.current);
		}
	}

	async execute(exchange) {
		try {
			await this.serveOne(exchange);
		} catch (error) {
			tell(error);
			this.fail(exchange);
		}
		if (this.current === exchange)
			this.current = null;
		this.maybeExit();
		this.next();
	}

	/* A constant answer where none has begun; what has is cut. */
	fail(exchange) {
		if (exchange.isBegun) {
			exchange.cut();
		} else {
			exchange.write(FAILED);
			exchange.end(EXIT_FAILED);
		}
	}

	left() {
		this.maybeExit();
	}

	/* ---- the end ---- */

	/* No further request; what is under way is finished. */
	end(exitCode) {
		this.exitCode ||= exitCode;
		this.isEnding = true;
		this.listener.close();
		this.maybeExit();
	}

	/* Nothing is under way and all that was written has gone. */
	maybeExit() {
		if (!this.isEnding || this.current !== null)
			return;
		for (const connection of this.connections) {
			if (connection.isBusy())
				return;
			if (connection.socket.writableLength > 0) {
				connection.socket.end();
				return;
			}
		}
		process.exit(this.exitCode);
	}

	/* What nobody caught leaves the program in a state that nobody knows, as
	 * node itself holds: the request is answered, and it ends. */
	crash(error) {
		const { current } = this;

		tell(error);
		this.current = null;
		this.isEnding = true;
		this.exitCode = EXIT_FAILED;
		for (const exchange of [current, ...this.waiting.splice(0)]) {
			if (exchange !== null && !exchange.isOver)
				this.fail(exchange);
		}
		this.end(EXIT_FAILED);
	}
}

async function ready(preload) {
	for (const name of preload.split(/\s+/).filter(Boolean)) {
		try {
			require(name);
		} catch (error) {
			say(Buffer.from(`fcgi-host-node: FCGI_HOST_PRELOAD: ` +
			    `${error.message}\n`));
		}
	}
	await require('./rehearse.cjs').rehearse();
}

function check(file) {
	const problem = checkSyntax(file);

	if (problem === null) {
		writeSync(1, 'ok\n');
		return;
	}
	say(Buffer.from(`${problem}\n`));
	process.exitCode = EXIT_FAILED;
}

function main(args) {
	const path = require('node:path');

	if (args.length === 2 && args[0] === '--check') {
		check(path.resolve(args[1]));
		return;
	}
	if (args.length !== 1 || args[0].startsWith('-')) {
		say(Buffer.from('usage: fcgi-host-node.cjs [--check] FILE\n'));
		process.exitCode = EXIT_USAGE;
		return;
	}
	const { FCGI_HOST_SPARE, FCGI_HOST_PRELOAD } = process.env;
	const server = new Server(path.resolve(args[0]), FCGI_HOST_SPARE === '1');

	delete process.env.FCGI_HOST_SPARE;
	delete process.env.FCGI_HOST_PRELOAD;
	redirect();
	process.argv = [process.argv[0], server.file];
	process.on('SIGTERM', () => server.end(0));
	process.on('uncaughtException', (error) => server.crash(error));
	if (server.isSpare)
		ready(FCGI_HOST_PRELOAD ?? '').then(() => server.listen());
	else
		server.load();
	if (!server.isSpare)
		server.listen();
}

main(process.argv.slice(2));
