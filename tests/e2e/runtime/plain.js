/* A handler of (req, res) with one act for each PATH_INFO, as CommonJS. */
const { existsSync } = require('node:fs');
const { pipeline } = require('node:stream');

const acts = {
	facts(req, res) {
		res.setHeader('Content-Type', 'application/json');
		res.end(JSON.stringify({
			method: req.method, url: req.url, base: req.baseUrl,
			original: req.originalUrl, header: req.headers['x-one'],
			raw: req.rawHeaders.includes('x-one'),
			version: req.httpVersion, ip: req.socket.remoteAddress,
			secure: req.socket.encrypted, id: req.cgiParams.REQUEST_ID,
		}));
	},
	echo(req, res) {
		res.writeHead(200, 'Fine', { 'Content-Type': 'x/y',
			'Transfer-Encoding': 'chunked' });
		pipeline(req, res, () => {});
	},
	status(req, res) {
		res.writeHead(201, { Status: '404 Not Found', 'X-Other': 'too' });
		res.end('made');
	},
	length(req, res) {
		res.setHeader('Content-Length', 12);
		res.end('twelve bytes');
	},
	cookies(req, res) {
		res.setHeader('Set-Cookie', ['a=1', 'b=2']);
		res.writeProcessing?.();
		res.end();
	},
	events(req, res) {
		res.write('data: first\n\n');
		const timer = setInterval(() => {
			if (existsSync('/data/plain-goes-on')) {
				clearInterval(timer);
				res.end('data: more\n\n');
			}
		}, 10);
	},
	pieces(req, res) {
		let all = '';

		req.setEncoding('utf8');
		req.on('data', (piece) => {
			console.log(`piece ${piece}`);
			all += piece;
		});
		req.on('end', () => res.end(all));
	},
	throw() {
		throw new Error('words for the log alone');
	},
	async reject() {
		throw new Error('words for the log alone');
	},
	later() {
		setTimeout(() => { throw new Error('nobody catches me'); });
	},
	bad(req, res) {
		res.setHeader('X-Bad', 'a\r\nX-Split: b');
	},
	cut(req, res) {
		res.write('begun', () => res.destroy());
	},
	flood(req, res) {
		let left = 1024;

		function go() {
			while (left-- > 0) {
				if (!res.write(Buffer.alloc(65536))) {
					if (left > 1000)
						console.log(`full ${left}`);
					res.once('drain', go);
					return;
				}
			}
			res.end();
		}
		go();
	},
	hang(req, res) {
		console.log(`hangs ${req.url.split('?')[1]}`);
		req.on('error', (error) => console.log(`req: ${error.code}`));
		res.on('close', () => console.log(`closed ${res.writableEnded}`));
		res.write('begun');
	},
};

module.exports = (req, res) =>
	acts[req.url.split('?')[0].slice(1)](req, res);
