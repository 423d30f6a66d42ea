'use strict';
/*
 * A fetch handler: one exchange as the platform's own Request, and its Response
 * as the answer.
 */

const { requestOf } = require('./request.cjs');

const NEXT_COOKIE = /, (?=[!#$%&'*+.^_`|~0-9a-z-]+=)/i;
const UNCLEAN = /[\r\n\0]/;
const NO_BODY = new Set([204, 205, 304]);

function isResponse(value) {
	return value instanceof Response || (typeof value?.status === 'number' &&
	    typeof value.headers?.[Symbol.iterator] === 'function');
}

/* Headers of Debian 12's Node joins cookies; a comma in one stands in its date. */
function* eachHeader(headers) {
	for (const [name, value] of headers) {
		if (name !== 'set-cookie' || headers.getSetCookie !== undefined)
			yield [name, value];
		else
			for (const cookie of value.split(NEXT_COOKIE))
				yield [name, cookie];
	}
}

/* A header called Status, as some servers send it, would be a second one of CGI's. */
function headOf(response) {
	const { status, statusText } = response;
	let head = `Status: ${status} ${statusText}`.trimEnd();

	if (!(status >= 200 && status <= 599))
		throw new RangeError(`a response of status ${status}`);
	if (UNCLEAN.test(head))
		throw new TypeError('a line break in the statusText');
	for (const [name, value] of eachHeader(response.headers)) {
		if (name.toLowerCase() === 'status')
			continue;
		if (UNCLEAN.test(name) || UNCLEAN.test(value))
			throw new TypeError(`a line break in the header ${name}`);
		head += `\r\n${name}: ${value}`;
	}
	return Buffer.from(`${head}\r\n\r\n`, 'latin1');
}

async function copyBody(exchange, body) {
	const reader = body.getReader();
	const leave = exchange.onGone;

	exchange.onGone = () => {
		leave();
		reader.cancel(exchange.reason).catch(() => {});
	};
	if (exchange.isGone)
		exchange.onGone();
	for (;;) {
		const { done, value } = await reader.read();

		if (done || exchange.isGone)
			return;
		if (!(value instanceof Uint8Array))
			throw new TypeError('a piece of the body is no Uint8Array');
		if (!exchange.write(value))
			await exchange.drained();
	}
}

/* waitUntil adds to `pending`; the execution ends when all of it has. */
class Context {
	#pending;

	constructor(params, pending) {
		this.params = params;
		this.#pending = pending;
	}

	waitUntil(promise) {
		this.#pending.push(promise);
	}

	/* There is no origin to pass to: an exception is 500. */
	passThroughOnException() {}
}

async function settle(pending, tell) {
	while (pending.length > 0) {
		for (const { reason } of await Promise.allSettled(pending.splice(0)))
			if (reason !== undefined)
				tell(reason);
	}
}

async function respond(exchange, handler, request, context) {
	const response = await handler(request, process.env, context);

	if (!isResponse(response))
		throw new TypeError('the handler gave no Response');
	exchange.write(headOf(response));
	if (response.body === null || response.body === undefined)
		return;
	if (request.method === 'HEAD' || NO_BODY.has(response.status))
		await response.body.cancel?.();
	else
		await copyBody(exchange, response.body);
}

/*
 * Serves one exchange up to its end.  handler(request, env, context); tell(error)
 * logs.  Rejects with what the handler threw, and the exchange is the caller's to
 * end then.
 */
async function serve(exchange, handler, tell) {
	const pending = [];
	let request;

	try {
		request = requestOf(exchange);
	} catch {
		exchange.write(Buffer.from('Status: 400 Bad Request\r\n' +
		    'Content-Type: text/plain\r\n\r\nBad Request\n'));
		exchange.end(0);
		return;
	}
	try {
		await respond(exchange, handler, request,
		    new Context(exchange.params, pending));
	} finally {
		if (pending.length > 0)
			await settle(pending, tell);
	}
	exchange.end(0);
}

module.exports = { serve };
