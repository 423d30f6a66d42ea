'use strict';
/*
 * A first execution before the first request, in a program that waits for one: what
 * node loads and compiles at the first Request, Response and import() is there
 * then.  Nothing of the function is read.
 */

const path = require('node:path');
const { Connection } = require('./fastcgi.cjs');
const fetch = require('./fetch.cjs');
const { load } = require('./load.cjs');

/* What Connection needs of a socket; what is written to it is thrown away. */
const NOWHERE = {
	destroyed: false, writableLength: 0, writableNeedDrain: false,
	on() {}, write() { return true; }, cork() {}, uncork() {}, end() {},
	pause() {}, resume() {}, destroy() {}, destroySoon() {},
};
const PARAMS = {
	REQUEST_METHOD: 'POST', REQUEST_URI: '/a?b', HTTP_HOST: 'localhost',
	CONTENT_TYPE: 'text/plain', CONTENT_LENGTH: '4',
};

function record(type, content) {
	return Buffer.concat([Buffer.from([1, type, 0, 1, content.length >> 8,
		content.length & 255, 0, 0]), content]);
}

function requestBytes() {
	const params = Buffer.concat(Object.entries(PARAMS).map(
	    ([name, value]) => Buffer.concat([Buffer.from([name.length,
		value.length]), Buffer.from(name + value)])));
	const none = Buffer.alloc(0);

	return Buffer.concat([record(1, Buffer.from([0, 1, 1, 0, 0, 0, 0, 0])),
		record(4, params), record(4, none), record(5, Buffer.from('body')),
		record(5, none)]);
}

async function rehearse() {
	const { handler } = await load(path.join(__dirname, 'rehearsal.mjs'));

	await new Promise((resolve, reject) => {
		const connection = new Connection(NOWHERE, {
			began: (exchange) => fetch.serve(exchange, handler, reject)
			    .then(resolve, reject),
			left() {},
		});

		connection.take(requestBytes());
	});
}

module.exports = { rehearse };
