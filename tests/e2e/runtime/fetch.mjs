/* A fetch handler with one act for each PATH_INFO, for test_runtime_node.py. */
import { existsSync, writeSync } from 'node:fs';
import { inspect } from 'node:util';

const kept = [];
let served = 0;

async function fileThere(path) {
	while (!existsSync(path))
		await new Promise((resolve) => setTimeout(resolve, 10));
}

function streamOf(...steps) {
	return new ReadableStream({
		async pull(controller) {
			const step = steps.shift();

			if (step === undefined)
				controller.close();
			else
				controller.enqueue(new TextEncoder().encode(await step()));
		},
	});
}

const acts = {
	facts(request, env, { params }) {
		return Response.json({
			method: request.method, url: request.url, served: ++served,
			pid: process.pid, greeting: env.GREETING,
			header: request.headers.get('x-one'),
			id: params.REQUEST_ID, path: params.PATH_INFO,
			argv: process.argv.length, hidden: Object.keys(process.env)
				.filter((name) => /PRELOAD|SPARE/.test(name)),
		});
	},
	async echo(request) {
		return new Response(request.body, { headers: {
			'Content-Type': request.headers.get('content-type') ?? 'none',
		} });
	},
	async size(request) {
		return new Response(String((await request.arrayBuffer()).byteLength));
	},
	cookies() {
		return new Response(null, { status: 204, headers: [
			['Set-Cookie', 'a=1'], ['Set-Cookie', 'b=2']] });
	},
	length() {
		return new Response('twelve bytes', { headers: {
			'Content-Length': '12', 'X-More': 'ä' } });
	},
	teapot() {
		return new Response('short and stout', { status: 418,
			statusText: 'A teapot' });
	},
	moved(request) {
		return Response.redirect(new URL('facts', request.url), 303);
	},
	bad() {
		return { status: 200, headers: [['X-Bad', 'a\r\nX-Split: b']] };
	},
	nothing() {},
	print() {
		console.log('printed %d', 1);
		console.error('printed to stderr');
		process.stdout.write('written\n');
		writeSync(1, 'to descriptor 1\n');
		return new Response('ok');
	},
	throw() {
		throw new Error('words for the log alone');
	},
	async uncaught() {
		setTimeout(() => { throw new Error('nobody catches me'); });
		await new Promise(() => {});
	},
	async unhandled() {
		Promise.reject(new Error('nobody awaits me'));
		await new Promise(() => {});
	},
	cut() {
		return new Response(streamOf(() => 'begun',
			() => { throw new Error('in the middle'); }));
	},
	events() {
		return new Response(streamOf(() => 'data: first\n\n', async () => {
			await fileThere('/data/fetch-goes-on');
			return 'data: more\n\n';
		}));
	},
	async pieces(request) {
		let all = '';

		for await (const piece of request.body) {
			console.log(`piece ${Buffer.from(piece)}`);
			all += Buffer.from(piece);
		}
		return new Response(all);
	},
	later(request, env, context) {
		context.waitUntil((async () => {
			await 0;
			context.waitUntil(new Promise((resolve) => setTimeout(() => {
				console.log('waited until the end');
				resolve();
			}, 50)));
		})());
		context.waitUntil(Promise.reject(new Error('in waitUntil')));
		return new Response('answered');
	},
	status() {
		return new Response('made', { status: 201,
			headers: { Status: '404 Not Found', 'X-Other': 'too' } });
	},
	flood() {
		let pulls = 0;

		return new Response(new ReadableStream({
			pull(controller) {
				if (++pulls > 1024) {
					controller.close();
					return;
				}
				if (pulls < 9)
					console.log(`pull ${pulls}`);
				controller.enqueue(new Uint8Array(65536));
			},
		}));
	},
	async hang(request) {
		const how = new URL(request.url).search.slice(1);
		const asked = { clone: () => request.clone(),
			again: () => new Request(request) }[how]?.() ?? request;

		console.log(`hangs ${how}`);
		await new Promise((resolve) => {
			asked.signal.addEventListener('abort', resolve);
		});
		console.log(`aborted: ${asked.signal.reason.name}`);
		if (how === 'late')
			await request.text().catch(({ name }) =>
				console.log(`late: ${name}`));
		return new Response('nobody reads this');
	},
	/* a request as others take it */
	async shape(request) {
		const copy = request.clone();
		const more = new Request(request, { headers: { 'x-two': '2' } });

		request.headers.append('x-three', '3');
		return Response.json({
			is: request instanceof Request,
			constructor: request.constructor === Request,
			tag: String(request),
			shown: /^Request \{/.test(inspect(request)),
			urls: new Set([request, copy, more].map((r) => r.url)).size,
			methods: [request.method, copy.method, more.method],
			bodies: [await copy.text(), await more.text()],
			used: [request.bodyUsed, copy.bodyUsed],
			one: [request, copy, more].map((r) => r.headers.get('x-one')),
			two: more.headers.get('x-two'),
			three: [request, copy].map((r) => r.headers.get('x-three')),
			signals: request.signal === request.signal,
			keys: Object.keys(request),
		});
	},
	/* as much as its memory, in some hundred requests */
	garbage() {
		kept[served++ % 64] = new Array(12000).fill(served);
		return new Response(String(process.pid));
	},
	async brief() {
		console.log('begins');
		await new Promise((resolve) => setTimeout(resolve, 300));
		return new Response('finished');
	},
};

export default {
	async fetch(request, env, context) {
		const act = new URL(request.url).pathname.split('/').at(-1);

		return acts[act](request, env, context);
	},
};
