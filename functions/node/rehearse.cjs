'use strict';
/*
 * First executions before the first request, in a program that waits for one: what
 * node loads and compiles at the first connection, Request, Response and import() is
 * there then.  Nothing of the function is read.
 */

const net = require('node:net');
const path = require('node:path');
const { Connection } = require('./fastcgi.cjs');
const fetch = require('./fetch.cjs');
const { load } = require('./load.cjs');

/* Enough for what is compiled at the second use, too few to be felt. */
const TIMES = 8;
const PARAMS = {
	REQUEST_METHOD: 'GET', REQUEST_URI: '/a?b', HTTP_HOST: 'localhost',
	HTTP_ACCEPT: '*/*', SCRIPT_NAME: '/a', PATH_INFO: '', QUERY_STRING: 'b',
};

function record(type, content) {
	return Buffer.concat([Buffer.from([1, type, 0, 1, content.length >> 8,
		content.length & 255, 0, 0]), content]);
}

function requestBytes(more, body) {
	const params = Buffer.concat(Object.entries({ ...PARAMS, ...more }).map(
	    ([name, value]) => Buffer.concat([Buffer.from([name.length,
		value.length]), Buffer.from(name + value)])));
	const none = Buffer.alloc(0);

	return Buffer.concat([record(1, Buffer.from([0, 1, 0, 0, 0, 0, 0, 0])),
		record(4, params), record(4, none),
		...(body.length > 0 ? [record(5, body)] : []), record(5, none)]);
}

/* One request on a connection of its own; resolves at its end. */
function ask(place, bytes) {
	return new Promise((resolve, reject) => {
		const client = net.connect(place, () => client.write(bytes));

		client.on('data', () => {});
		client.on('error', reject);
		client.on('close', resolve);
	});
}

async function rehearse() {
	const place = `/tmp/.fcgi-host-node-${process.pid}`;
	const { handler } = await load(path.join(__dirname, 'rehearsal.mjs'));
	const server = net.createServer((socket) => new Connection(socket, {
		began: (exchange) => fetch.serve(exchange, handler, () => {}),
		left() {},
	}));
	const body = Buffer.from('body');

	try {
		await new Promise((resolve, reject) => {
			server.on('error', reject);
			server.listen(place, resolve);
		});
		for (let i = 0; i < TIMES; i++) {
			await ask(place, requestBytes({}, Buffer.alloc(0)));
			await ask(place, requestBytes({ REQUEST_METHOD: 'POST',
				CONTENT_LENGTH: String(body.length) }, body));
		}
	} catch {
		/* no room in /tmp: then the first request pays for it */
	}
	server.close();
}

module.exports = { rehearse };
