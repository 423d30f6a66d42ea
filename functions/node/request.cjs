'use strict';
/*
 * The request of an exchange: its URL and header, and the platform's own Request.
 *
 * A Request with an AbortSignal is dear: what it leaves for the collector's second
 * look costs as much as all the rest of a short execution.  So a handler is given
 * one that is made when more of it is asked for than its method and its URL; and
 * its signal when that is, be it by clone(), new Request(request) or
 * fetch(request).
 */

const TOKEN = /^[!#$%&'*+.^_`|~0-9a-z-]+$/;
const UNCLEAN = /[\r\n\0]/;
/* new URL() makes a slash of the first and leaves the others out: what is a name to the
 * web server, which may guard a path, would be another path here. */
const NO_TARGET = /[\\\0- ]/g;
/* Dots and slashes that a web server resolves. */
const RESOLVED = /\/[./]|%2[ef]/i;
/* In a URL these end its host, or its user: what a Host says behind one would be
 * taken for the path. */
const NO_HOST = /[\s/\\?#@]/;
/* Those that stay as they are written. */
const METHODS = new Set(['GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'OPTIONS']);
/* So much of a body is read ahead of who reads the stream. */
const BODY_AHEAD = 1 << 16;

/* What the web server was sent, lower-case, one value for each name. */
function headersOf(params) {
	const headers = {};

	for (const name in params) {
		if (name.startsWith('HTTP_')) {
			const plain = name.slice(5).toLowerCase().replaceAll('_', '-');

			if (TOKEN.test(plain))
				headers[plain] = params[name];
		}
	}
	if (params.CONTENT_TYPE)
		headers['content-type'] = params.CONTENT_TYPE;
	if (params.CONTENT_LENGTH)
		headers['content-length'] = params.CONTENT_LENGTH;
	return headers;
}

function isSecure(params) {
	return params.HTTPS === 'on' || params.REQUEST_SCHEME === 'https';
}

/* A path that was decoded. */
function encodePath(path) {
	return encodeURI(path).replace(/[?#]/g, encodeURIComponent);
}

/* Whether the web server has resolved dots or slashes in the URL's path otherwise
 * than they stand there. */
function isResolved(target, path) {
	if (!RESOLVED.test(target))
		return false;
	try {
		return decodeURIComponent(/^[^?#]*/.exec(target)[0]) !== path;
	} catch {
		return true;
	}
}

/* The path and query as the client sent them; or, where they would mean another
 * path here, as the web server has understood them. */
function targetOf(params) {
	const target = params.REQUEST_URI;
	const path = (params.SCRIPT_NAME ?? '') + (params.PATH_INFO ?? '');

	if (target?.startsWith('/') && !isResolved(target, path))
		return target.replace(NO_TARGET, encodeURIComponent);
	return encodePath(path) +
	    (params.QUERY_STRING ? `?${params.QUERY_STRING}` : '');
}

function urlOf(params) {
	const scheme = isSecure(params) ? 'https' : 'http';
	const host = params.HTTP_HOST || params.SERVER_NAME || 'localhost';

	if (NO_HOST.test(host))
		throw new TypeError('the Host is none');
	return `${scheme}://${host}${targetOf(params)}`;
}

function bodyOf(exchange) {
	return new ReadableStream({
		type: 'bytes',
		start(controller) {
			this.isOpen = true;
			exchange.readBody({
				data: (piece) => {
					if (this.isOpen)
						controller.enqueue(new Uint8Array(piece));
					return !this.isOpen || controller.desiredSize > 0;
				},
				end: () => {
					if (this.isOpen)
						controller.close();
					this.isOpen = false;
					controller.byobRequest?.respond(0);
				},
			});
			exchange.failBody = (reason) => {
				if (this.isOpen)
					controller.error(reason);
				this.isOpen = false;
			};
		},
		pull() {
			exchange.wantBody();
		},
		cancel() {
			this.isOpen = false;
			exchange.wantBody();
		},
	}, { highWaterMark: BODY_AHEAD });
}

/* What a Request is made of. */
class Source {
	constructor(exchange) {
		const { params } = exchange;

		this.exchange = exchange;
		this.method = params.REQUEST_METHOD || 'GET';
		this.headers = headersOf(params);
		this.url = urlOf(params);
		this.aborter = this.holder = this.made = null;
	}

	/* Whether a Request of it can be made, for which new Request() alone is
	 * asked otherwise. */
	isPlain() {
		const { headers, method } = this;
		const url = new URL(this.url);

		if (!METHODS.has(method) || url.username !== '' ||
		    url.password !== '')
			return false;
		for (const name in headers) {
			if (UNCLEAN.test(headers[name]))
				return false;
		}
		this.url = url.href;
		return true;
	}

	/* That of a Request, whose clones know how to follow it. */
	get signal() {
		if (this.holder === null) {
			this.holder = new Request('http://localhost',
			    { signal: this.controller.signal });
		}
		return this.holder.signal;
	}

	/* Nobody waits for the answer any more. */
	leave() {
		const { controller } = this;

		controller.abort();
		this.exchange.failBody?.(controller.signal.reason);
	}

	get controller() {
		this.aborter ??= new AbortController();
		return this.aborter;
	}

	make(init) {
		const { exchange, headers, method } = this;

		if (method !== 'GET' && method !== 'HEAD' &&
		    exchange.params.CONTENT_LENGTH !== '0') {
			init.body = bodyOf(exchange);
			init.duplex = 'half';
		}
		this.made = new Request(this.url, { method, headers, ...init });
		if (exchange.isGone)
			this.leave();
		return this.made;
	}

	/* Its signal is no part of it. */
	get request() {
		return this.made ?? this.make({});
	}
}

/* Where its fields are properties of a Request, by symbols, they are those of the
 * one that is made; the methods of a Request find them here. */
class LazyRequest {
	#source;

	constructor(source) {
		this.#source = source;
	}

	get method() {
		return this.#source.method;
	}

	get url() {
		return this.#source.url;
	}

	get signal() {
		return this.#source.signal;
	}

	static field(symbol) {
		const isSignal = symbol.description === 'signal';

		Object.defineProperty(LazyRequest.prototype, symbol, {
			get() {
				return isSignal ? this.#source.signal :
				    this.#source.request[symbol];
			},
			set(value) {
				this.#source.request[symbol] = value;
			},
		});
	}
}

/* Whether this node's Request can be stood in for; null: nobody has looked. */
let isLazy = null;

/* By trying it with what reads most of its fields, since they are node's own. */
function lookAtRequest() {
	const params = { HTTP_HOST: 'localhost', HTTP_A: 'b', REQUEST_URI: '/c' };
	const source = new Source({ params, isGone: false });
	const request = new LazyRequest(source);
	const fields = Object.getOwnPropertySymbols(new Request('http://a'));

	Object.setPrototypeOf(LazyRequest.prototype, Request.prototype);
	Object.defineProperty(LazyRequest.prototype, 'constructor',
	    { value: Request, writable: true, configurable: true });
	fields.forEach(LazyRequest.field);
	try {
		const other = new Request(request.clone());

		source.leave();
		return other.url === 'http://localhost/c' &&
		    other.headers.get('a') === 'b' && other.signal.aborted &&
		    request.headers.get('a') === 'b';
	} catch {
		return false;
	}
}

/* The Request of an exchange.  Throws if it is none. */
function requestOf(exchange) {
	const source = new Source(exchange);

	if (isLazy === null) {
		/* it costs as much as the first request itself */
		isLazy = false;
		setImmediate(() => { isLazy = lookAtRequest(); });
	}
	exchange.onGone = () => source.leave();
	if (exchange.isGone)
		exchange.onGone();
	if (isLazy && source.isPlain())
		return new LazyRequest(source);
	return source.make({ signal: source.controller.signal });
}

module.exports = { encodePath, headersOf, isSecure, requestOf, targetOf };
