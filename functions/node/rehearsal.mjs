/* The rehearsal's fetch handler: what many do, each in its turn. */
const headers = { 'Content-Type': 'text/plain', 'Set-Cookie': 'a=b' };
const answers = [
	(text) => new Response(text),
	(text) => new Response(text, { status: 201, headers }),
	(text) => Response.json({ text }),
	(text) => new Response(new TextEncoder().encode(text),
	    { headers: new Headers(headers) }),
	() => new Response(null, { status: 204 }),
	(text) => new Response(new ReadableStream({
		start(controller) {
			controller.enqueue(new TextEncoder().encode(text));
			controller.close();
		},
	})),
];
let served = 0;

export default {
	async fetch(request, env, context) {
		const { pathname, searchParams } = new URL(request.url);
		let body = '';

		if (request.method !== 'GET')
			body = await (served % 4 < 2 ? request.text() : request.json());
		context.waitUntil(Promise.resolve());
		return answers[served++ % answers.length](`${pathname} ${body} ` +
		    searchParams.get('b') + request.headers.get('accept'));
	},
};
