'use strict';
/* The rehearsal's handler of (req, res). */
module.exports = (req, res) => {
	let body = '';

	req.on('data', (piece) => { body += piece; });
	req.on('end', () => {
		res.setHeader('Content-Type', 'text/plain');
		res.end(`${req.url} ${body}`);
	});
};
