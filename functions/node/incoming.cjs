'use strict';
/*
 * A handler of (req, res): one exchange as node's own IncomingMessage and
 * ServerResponse.  Between them and the exchange stands a line, which is to them
 * the socket of a connection: the HTTP/1.1 that the response writes there goes on
 * as a CGI answer.
 */

const http = require('node:http');
const { Duplex } = require('node:stream');
const { encodePath, headersOf, isSecure, targetOf } = require('./request.cjs');

const HEAD_END = '\r\n\r\n';
/* Of the connection, which is the web server's; and CGI has a Status of its own. */
const HOP = /^(connection|keep-alive|transfer-encoding|trailer|status):/i;

/* The head of an HTTP answer as CGI has it; null: an interim one. */
function cgiHead(head) {
	const [first, ...lines] = head.split('\r\n');
	const status = first.slice(first.indexOf(' ') + 1);

	if (status.startsWith('1'))
		return null;
	return Buffer.from([`Status: ${status}`,
	    ...lines.filter((line) => !HOP.test(line)), '', ''].join('\r\n'),
	    'latin1');
}

class Line extends Duplex {
	constructor(exchange) {
		super({ emitClose: true });
		const { params } = exchange;

		this.exchange = exchange;
		this.encrypted = isSecure(params);
		this.remoteAddress = params.REMOTE_ADDR;
		this.remotePort = Number(params.REMOTE_PORT) || undefined;
		this.remoteFamily = params.REMOTE_ADDR?.includes(':') ? 'IPv6' :
		    'IPv4';
		this.localAddress = params.SERVER_ADDR;
		this.localPort = Number(params.SERVER_PORT) || undefined;
		this.head = Buffer.alloc(0); /* null: behind it */
		this.on('error', () => {});
	}

	setTimeout() { return this; }
	setNoDelay() { return this; }
	setKeepAlive() { return this; }
	ref() { return this; }
	unref() { return this; }
	destroySoon() { this.end(); }

	address() {
		return { address: this.localAddress, port: this.localPort,
			family: this.remoteFamily };
	}

	_read() {}

	_write(bytes, encoding, done) {
		const body = this.head === null ? bytes : this.takeHead(bytes);

		if (this.exchange.write(body))
			done();
		else
			this.exchange.drained().then(done);
	}

	/* Returns what is known to be body. */
	takeHead(bytes) {
		this.head = Buffer.concat([this.head, bytes]);
		for (;;) {
			const end = this.head.indexOf(HEAD_END);

			if (end < 0)
				return Buffer.alloc(0);
			const head = cgiHead(this.head.latin1Slice(0, end));
			const rest = this.head.subarray(end + HEAD_END.length);

			this.head = head === null ? rest : null;
			if (head !== null) {
				this.exchange.write(head);
				return rest;
			}
		}
	}

	/* Who destroys it before the answer is whole wants that to be seen. */
	_destroy(error, done) {
		if (!this.exchange.isGone)
			this.exchange.cut();
		done(error);
	}
}

class Incoming extends http.IncomingMessage {
	constructor(line) {
		super(line);
		const { params } = line.exchange;
		const headers = headersOf(params);
		const version = /^HTTP\/(\d)\.(\d)$/.exec(params.SERVER_PROTOCOL);

		this.cgiParams = params;
		this.method = params.REQUEST_METHOD || 'GET';
		this.httpVersionMajor = Number(version?.[1] ?? 1);
		this.httpVersionMinor = Number(version?.[2] ?? 1);
		this.httpVersion =
		    `${this.httpVersionMajor}.${this.httpVersionMinor}`;
		/* mounted at the function's own route, as connect mounts an app */
		this.originalUrl = targetOf(params);
		this.baseUrl = params.SCRIPT_NAME ?? '';
		this.url = localUrl(params, this.originalUrl);
		this.rawHeaders = Object.entries(headers).flat();
		this.headers = headers;
	}

	get headersDistinct() {
		return Object.fromEntries(Object.entries(this.headers).map(
		    ([name, value]) => [name, [value]]));
	}

	_read() {
		this.socket.exchange?.wantBody();
	}
}

/* What of the URL is behind the function's route, as the client wrote it where
 * that can be told. */
function localUrl(params, whole) {
	const base = params.SCRIPT_NAME ?? '';

	if (whole.startsWith(base) && /^([/?]|$)/.test(whole.slice(base.length)))
		return whole.slice(base.length).replace(/^(?!\/)/, '/');
	return (encodePath(params.PATH_INFO ?? '') || '/') +
	    (params.QUERY_STRING ? `?${params.QUERY_STRING}` : '');
}

class Outgoing extends http.ServerResponse {
	constructor(req) {
		super(req);
		this.sendDate = false;
		this.shouldKeepAlive = false;
	}

	/* The records of the exchange are frames enough. */
	get chunkedEncoding() { return false; }
	set chunkedEncoding(is) {}

	get writableNeedDrain() {
		return !this.destroyed && !this.finished &&
		    (this.socket?.writableNeedDrain ?? false);
	}
}

/* As node's http server does it, behind the last byte. */
function emitClose(res) {
	res.destroyed = true;
	res._closed = true;
	res.emit('close');
}

/* Resolves when the response is over: written, or given up. */
function overOf(res, line) {
	return new Promise((resolve) => {
		res.on('finish', () => {
			res.detachSocket(line);
			process.nextTick(emitClose, res);
			resolve();
		});
		line.on('close', resolve);
	});
}

/*
 * Serves one exchange up to its end, which is that of the response and of the
 * promise that the handler gives, if it gives one.  Rejects with what it threw.
 */
async function serve(exchange, handler) {
	const line = new Line(exchange);
	const req = new Incoming(line);
	const res = new Outgoing(req);
	const over = overOf(res, line);

	res.assignSocket(line);
	line.on('drain', () => {
		if (!res.finished && !res.destroyed)
			res.emit('drain');
	});
	exchange.onGone = () => {
		const gone = new Error('the client left');

		gone.code = 'ECONNRESET';
		req.destroy(gone);
		line.destroy();
	};
	exchange.readBody({
		data: (piece) => req.push(piece),
		end: () => {
			req.complete = true;
			req.push(null);
		},
	});
	if (exchange.isGone)
		exchange.onGone();
	await handler(req, res);
	await over;
	/* express logs an error one turn behind its answer */
	await new Promise(setImmediate);
	exchange.end(0);
}

module.exports = { serve };
