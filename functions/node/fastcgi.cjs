'use strict';
/*
 * FastCGI 1.0 on one connection: bytes in, exchanges out.  An exchange is one
 * request: its params, its body as it comes, the way of its answer.  Requests on a
 * connection come one behind the other; what is malformed closes it.  Nothing here
 * knows what a function is.
 */

const VERSION = 1;
const HEADER_BYTES = 8;
const BEGIN_REQUEST = 1, ABORT_REQUEST = 2, END_REQUEST = 3, PARAMS = 4;
const STDIN = 5, STDOUT = 6, GET_VALUES = 9, GET_VALUES_RESULT = 10;
const UNKNOWN_TYPE = 11;
const RESPONDER = 1, AUTHORIZER = 2;
const KEEP_CONN = 1;
const REQUEST_COMPLETE = 0, CANT_MPX_CONN = 1, UNKNOWN_ROLE = 3;

/* The largest content whose length is a multiple of eight. */
const CONTENT_MAX = 65528;
/* The host sends 64 KiB of params at most; this bounds any other peer. */
const PARAMS_MAX = 1 << 20;
/* So much of a body waits for its reader before the peer has to. */
const BODY_AHEAD = 1 << 16;
/* So much of an answer is on its way before who makes it has to wait. */
const ANSWER_AHEAD = 1 << 16;
/* An answer up to here is copied into one piece: one write, not several. */
const ONE_PIECE = 1 << 14;

const VALUES = { FCGI_MAX_CONNS: '1', FCGI_MAX_REQS: '1', FCGI_MPXS_CONNS: '0' };

function putHeader(out, at, type, id, length) {
	out[at] = VERSION;
	out[at + 1] = type;
	out[at + 2] = id >> 8;
	out[at + 3] = id & 255;
	out[at + 4] = length >> 8;
	out[at + 5] = length & 255;
	out[at + 6] = out[at + 7] = 0;
	return at + HEADER_BYTES;
}

function header(type, id, length) {
	const out = Buffer.allocUnsafe(HEADER_BYTES);

	putHeader(out, 0, type, id, length);
	return out;
}

function endRecord(id, appStatus, protocolStatus) {
	const out = Buffer.alloc(HEADER_BYTES + 8);

	putHeader(out, 0, END_REQUEST, id, 8);
	out.writeUInt32BE(appStatus, HEADER_BYTES);
	out[HEADER_BYTES + 4] = protocolStatus;
	return out;
}

/* A header's bytes are Latin-1, as in node's own http; all else is UTF-8. */
function text(bytes, name) {
	return name.startsWith('HTTP_') || name === 'CONTENT_TYPE' ?
	    bytes.latin1Slice() : bytes.utf8Slice();
}

/* Name-value pairs as an object without a prototype; null: malformed. */
function readPairs(bytes) {
	const pairs = Object.create(null);
	let at = 0;

	function length() {
		let n = bytes[at++];

		if (n < 128)
			return n;
		if (n === undefined || at + 3 > bytes.length)
			return Infinity;
		n = bytes.readUInt32BE(at - 1) & 0x7fffffff;
		at += 3;
		return n;
	}
	while (at < bytes.length) {
		const nameBytes = length(), valueBytes = length();
		const valueAt = at + nameBytes, end = valueAt + valueBytes;

		if (!(end <= bytes.length))
			return null;
		const name = bytes.latin1Slice(at, valueAt);

		pairs[name] = text(bytes.subarray(valueAt, end), name);
		at = end;
	}
	return pairs;
}

/* The values that are known among those asked for; their lengths are one byte. */
function valuesRecord(asked) {
	const parts = [];

	for (const name of Object.keys(VALUES)) {
		if (name in asked)
			parts.push(Buffer.from([name.length, VALUES[name].length]),
			    Buffer.from(name + VALUES[name]));
	}
	const content = Buffer.concat(parts);

	return Buffer.concat([header(GET_VALUES_RESULT, 0, content.length),
	    content]);
}

/*
 * One request.  The answer is written by write(), which says false when drained()
 * is to be awaited, and ends by end() or, never looking whole, by cut().  The body
 * goes to the reader of readBody(): data(piece) says false to have no more before
 * wantBody(), end() comes once.  onGone is called when nobody waits for the answer
 * any more; what is written then goes nowhere, and end() is still to be called.
 */
class Exchange {
	constructor(connection, id, keeps) {
		this.connection = connection;
		this.id = id;
		this.keeps = keeps;
		this.params = null;
		this.isBegun = false;  /* something of the answer was written */
		this.isOver = false;
		this.isGone = false;
		this.onGone = null;
		this.failBody = null;
		this.paramPieces = [];
		this.paramBytes = 0;
		this.reader = null;
		this.body = [];
		this.bodyBytes = 0;
		this.isBodyEnded = false;
		this.out = [];
		this.outBytes = 0;
		this.isFlushing = false;
		this.waiting = [];     /* who awaits drained() */
	}

	/* ---- the body ---- */

	readBody(reader) {
		const pieces = this.body;
		let wants = true;

		this.reader = reader;
		this.body = [];
		for (const piece of pieces)
			wants = reader.data(piece);
		if (this.isBodyEnded)
			reader.end();
		else if (wants)
			this.wantBody();
	}

	wantBody() {
		this.connection.socket.resume();
	}

	takeBody(piece) {
		let wants;

		if (this.reader !== null) {
			wants = this.reader.data(piece);
		} else {
			this.body.push(piece);
			this.bodyBytes += piece.length;
			wants = this.bodyBytes < BODY_AHEAD;
		}
		if (!wants)
			this.connection.socket.pause();
	}

	endBody() {
		if (this.isBodyEnded)
			return;
		this.isBodyEnded = true;
		this.reader?.end();
	}

	/* ---- the answer ---- */

	/* What is written in one turn goes out together, at its end. */
	write(bytes) {
		if (this.isGone || this.isOver)
			return true;
		this.isBegun = true;
		if (bytes.length === 0)
			return true;
		this.out.push(bytes);
		this.outBytes += bytes.length;
		if (!this.isFlushing) {
			this.isFlushing = true;
			process.nextTick(flush, this);
		}
		return this.outBytes + this.connection.socket.writableLength <
		    ANSWER_AHEAD;
	}

	drained() {
		flush(this);
		if (this.isGone || !this.connection.socket.writableNeedDrain)
			return Promise.resolve();
		return new Promise((resolve) => this.waiting.push(resolve));
	}

	wake() {
		for (const resolve of this.waiting.splice(0))
			resolve();
	}

	end(appStatus) {
		if (this.isOver)
			return;
		this.out.push(null);
		flush(this, appStatus);
		this.connection.over(this);
	}

	cut() {
		if (this.isOver)
			return;
		flush(this);
		this.keeps = false;
		this.connection.cut(this);
	}

	leave() {
		if (this.isGone)
			return;
		this.isGone = true;
		this.out = [];
		this.outBytes = 0;
		this.wake();
		this.onGone?.();
	}
}

/* What was written, as records in one piece; with the end where there is one. */
function joined(exchange, isEnd, appStatus) {
	const { id, out, outBytes } = exchange;
	const bytes = Buffer.allocUnsafe(outBytes + 4 * HEADER_BYTES);
	let at = 0;

	if (outBytes > 0)
		at = putHeader(bytes, at, STDOUT, id, outBytes);
	for (const piece of out) {
		if (piece !== null) {
			bytes.set(piece, at);
			at += piece.length;
		}
	}
	if (isEnd) {
		at = putHeader(bytes, at, STDOUT, id, 0);
		at = putHeader(bytes, at, END_REQUEST, id, 8);
		bytes.fill(0, at, at + 8);
		bytes.writeUInt32BE(appStatus, at);
		at += 8;
	}
	return bytes.subarray(0, at);
}

function writePieces(exchange, socket, isEnd, appStatus) {
	socket.cork();
	for (const piece of exchange.out) {
		for (let at = 0; piece !== null && at < piece.length;
		    at += CONTENT_MAX) {
			const part = piece.subarray(at, at + CONTENT_MAX);

			socket.write(header(STDOUT, exchange.id, part.length));
			socket.write(part);
		}
	}
	if (isEnd) {
		socket.write(header(STDOUT, exchange.id, 0));
		socket.write(endRecord(exchange.id, appStatus, REQUEST_COMPLETE));
	}
	socket.uncork();
}

function flush(exchange, appStatus = 0) {
	const { socket } = exchange.connection;
	const isEnd = exchange.out.at(-1) === null;

	exchange.isFlushing = false;
	if (exchange.out.length === 0 || socket.destroyed)
		return;
	if (exchange.outBytes <= ONE_PIECE)
		socket.write(joined(exchange, isEnd, appStatus));
	else
		writePieces(exchange, socket, isEnd, appStatus);
	exchange.out = [];
	exchange.outBytes = 0;
}

/* One connection.  events.began(exchange) when the params are whole, and
 * events.left() when an exchange is over, whichever way. */
class Connection {
	constructor(socket, events) {
		this.socket = socket;
		this.events = events;
		this.exchange = null;
		this.head = Buffer.alloc(HEADER_BYTES);
		this.headBytes = 0;
		this.type = this.id = this.length = 0;
		this.left = 0;         /* of the record's content */
		this.padding = 0;
		this.small = [];       /* the content of a record that is no stream */
		socket.on('data', (chunk) => this.take(chunk));
		socket.on('drain', () => this.exchange?.wake());
		socket.on('error', () => {});
		socket.on('end', () => this.closed());
		socket.on('close', () => this.closed());
	}

	take(chunk) {
		let at = 0;

		while (at < chunk.length && !this.socket.destroyed) {
			const room = chunk.length - at;

			if (this.headBytes < HEADER_BYTES) {
				const n = Math.min(HEADER_BYTES - this.headBytes, room);

				chunk.copy(this.head, this.headBytes, at, at + n);
				this.headBytes += n;
				at += n;
				if (this.headBytes === HEADER_BYTES)
					this.opened();
			} else if (this.left > 0) {
				const piece = chunk.subarray(at, at + this.left);

				this.left -= piece.length;
				at += piece.length;
				this.content(piece);
			} else {
				const n = Math.min(this.padding, room);

				this.padding -= n;
				at += n;
			}
			if (this.headBytes === HEADER_BYTES && this.left === 0 &&
			    this.padding === 0) {
				this.headBytes = 0;
				this.ended();
			}
		}
	}

	opened() {
		const { head } = this;

		if (head[0] !== VERSION) {
			this.socket.destroy();
			return;
		}
		this.type = head[1];
		this.id = head[2] << 8 | head[3];
		this.left = this.length = head[4] << 8 | head[5];
		this.padding = head[6];
		this.small = [];
	}

	isOwn() {
		return this.exchange !== null && this.exchange.id === this.id;
	}

	content(piece) {
		if (this.type === BEGIN_REQUEST || this.type === GET_VALUES) {
			this.small.push(piece);
		} else if (!this.isOwn()) {
			return;
		} else if (this.type === STDIN) {
			this.exchange.takeBody(piece);
		} else if (this.type === PARAMS && this.exchange.params === null) {
			this.exchange.paramPieces.push(piece);
			this.exchange.paramBytes += piece.length;
			if (this.exchange.paramBytes > PARAMS_MAX)
				this.socket.destroy();
		}
	}

	/* A record is there whole. */
	ended() {
		if (this.socket.destroyed)
			return;
		if (this.id === 0)
			this.management();
		else if (this.type === BEGIN_REQUEST)
			this.begin(Buffer.concat(this.small));
		else if (!this.isOwn())
			return;
		else if (this.type === ABORT_REQUEST)
			this.exchange.leave();
		else if (this.type === STDIN && this.length === 0)
			this.exchange.endBody();
		else if (this.type === PARAMS && this.length === 0)
			this.params();
	}

	management() {
		const asked = this.type === GET_VALUES ?
		    readPairs(Buffer.concat(this.small)) : null;

		if (asked !== null) {
			this.socket.write(valuesRecord(asked));
		} else {
			const out = Buffer.alloc(HEADER_BYTES + 8);

			putHeader(out, 0, UNKNOWN_TYPE, 0, 8);
			out[HEADER_BYTES] = this.type;
			this.socket.write(out);
		}
	}

	begin(bytes) {
		const role = bytes.length < 8 ? 0 : bytes.readUInt16BE(0);

		/* an end would end the one that runs */
		if (this.isOwn())
			return;
		if (this.exchange !== null)
			this.socket.write(endRecord(this.id, 0, CANT_MPX_CONN));
		else if (role !== RESPONDER && role !== AUTHORIZER)
			this.socket.write(endRecord(this.id, 0, UNKNOWN_ROLE));
		else
			this.exchange = new Exchange(this, this.id,
			    (bytes[2] & KEEP_CONN) !== 0);
	}

	params() {
		const { exchange } = this;

		if (exchange.params !== null)
			return;
		exchange.params = readPairs(exchange.paramPieces.length === 1 ?
		    exchange.paramPieces[0] : Buffer.concat(exchange.paramPieces));
		exchange.paramPieces = [];
		if (exchange.params === null)
			this.socket.destroy();
		else
			this.events.began(exchange);
	}

	/* The rest of a body that nobody read is thrown away. */
	over(exchange) {
		exchange.isOver = true;
		if (this.exchange === exchange)
			this.exchange = null;
		if (!exchange.keeps)
			this.socket.end();
		this.socket.resume();
		this.events.left();
	}

	cut(exchange) {
		exchange.isOver = true;
		this.exchange = null;
		this.socket.destroySoon();
		this.events.left();
	}

	/* The peer is gone; who makes the answer ends the exchange. */
	closed() {
		const { exchange } = this;

		if (exchange === null)
			return;
		if (exchange.params !== null) {
			exchange.leave();
			return;
		}
		exchange.isOver = true;
		this.exchange = null;
	}

	/* Whether a request is under way on it, be it half sent. */
	isBusy() {
		return this.exchange !== null;
	}
}

module.exports = { Connection };
