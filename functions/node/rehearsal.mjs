/* The function of the rehearsal. */
export default {
	async fetch(request, env, context) {
		const { pathname } = new URL(request.url);
		const body = request.method === 'GET' ? '' : await request.text();

		context.waitUntil(Promise.resolve());
		return new Response(`${pathname} ${body}`, {
			headers: { 'Content-Type': 'text/plain' },
		});
	},
};
