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
const incoming = require('./incoming.cjs');
const { exportsOf, handlerOf } = require('./load.cjs');

/* Enough for what is compiled when it is used often, too few to be felt. */
const TIMES = 16;
const PARAMS = {
	REQUEST_METHOD: 'GET', REQUEST_URI: '/a?b=c', HTTP_HOST: 'localhost',
	HTTP_ACCEPT: '*/*', SCRIPT_NAME: '/a', PATH_INFO: '', QUERY_STRING: 'b=c',
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

/* A server of one of the rehearsal's handlers, which is asked a few times. */
async function serveOften(place, serve, handler) {
	const server = net.createServer((socket) => new Connection(socket, {
		began: (exchange) => serve(exchange, handler, () => {}),
		left() {},
	}));
	const body = Buffer.from('"JSON"');

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
	} finally {
		server.close();
	}
}

/* The handler of a file that is loaded a few times: a module is loaded once for
 * each name. */
async function loadOften(name) {
	const file = path.join(__dirname, name);
	let exported;

	for (let i = 0; i < TIMES; i++)
		exported = await exportsOf(file, `?${i}`);
	return handlerOf(exported.default).handler;
}

async function rehearse() {
	const place = `/tmp/.fcgi-host-node-${process.pid}`;
	const module = await loadOften('rehearsal.mjs');
	const common = await loadOften('rehearsal.cjs');

	try {
		await serveOften(place, fetch.serve, module);
		await serveOften(place, incoming.serve, common);
	} catch {
		/* no room in /tmp: then the first request pays for it */
	}
}

module.exports = { rehearse };
