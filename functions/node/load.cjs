'use strict';
/*
 * A function's file: what it exports, which kind of handler that is, and a look
 * at its syntax that runs nothing.
 */

const path = require('node:path');

const ES_WORDS = /^(Cannot use import statement outside a module|Unexpected token 'export'|Cannot use 'import\.meta' outside a module|await is only valid in async functions)/;

/* "module", "commonjs", or null: no package.json says so. */
function packageType(file) {
	const fs = require('node:fs');

	for (let folder = path.dirname(file); ; folder = path.dirname(folder)) {
		let said;

		try {
			said = fs.readFileSync(path.join(folder, 'package.json'),
			    'utf8');
		} catch {
			if (folder === path.dirname(folder))
				return null;
			continue;
		}
		try {
			return JSON.parse(said).type ?? null;
		} catch (error) {
			throw new SyntaxError(`${folder}/package.json: ` +
			    error.message);
		}
	}
}

/* Compiles as CommonJS; returns the error, or null. */
function commonError(file, source) {
	const { Script } = require('node:vm');

	try {
		/* as node wraps it, on one line */
		new Script(`(function (exports, require, module, __filename, ` +
		    `__dirname) { ${source.replace(/^#!/, '//')}\n})`,
		    { filename: file });
		return null;
	} catch (error) {
		return error;
	}
}

function isModule(file, source) {
	const extension = path.extname(file);

	if (extension === '.mjs' || extension === '.cjs')
		return extension === '.mjs';
	const type = packageType(file);

	if (type !== null)
		return type === 'module';
	const error = commonError(file, source);

	return error !== null && ES_WORDS.test(error.message);
}

/* Node compiles modules only to run them; its own check runs beside us. */
function moduleError(file, source) {
	const { spawnSync } = require('node:child_process');
	const ran = spawnSync(process.execPath,
	    ['--check', '--input-type=module', '-'],
	    { input: source.replace(/^#!/, '//'), encoding: 'utf8' });

	return ran.status === 0 ? null : (ran.error?.message ?? ran.stderr)
	    .replaceAll(/(file:\S*)?\[(stdin|eval1)\]/g, file);
}

/* FILE:LINE: words of a syntax error; null: there is none. */
function checkSyntax(file) {
	const source = require('node:fs').readFileSync(file, 'utf8');
	let said;

	if (isModule(file, source)) {
		said = moduleError(file, source);
	} else {
		said = commonError(file, source)?.stack ?? null;
	}
	if (said === null)
		return null;
	const line = new RegExp(`${RegExp.escape?.(file) ?? file.replace(
	    /[^\w/]/g, '\\$&')}:(\\d+)`).exec(said)?.[1];
	const words = /^\w*Error: .*/m.exec(said)?.[0] ?? said.trim();

	return line === undefined ? `${file}: ${words}` :
	    `${file}:${line}: ${words}`;
}

/*
 * Where the export is a function, its parameters decide: (req, res) has two or
 * more, a fetch handler has the request alone.  One that wants more than that is
 * the method of an object, as in Workers.
 */
function handlerOf(exported) {
	for (const value of [exported, exported?.default]) {
		if (typeof value?.fetch === 'function')
			return { kind: 'fetch', handler: (request, env, context) =>
			    value.fetch(request, env, context) };
		if (typeof value === 'function')
			return value.length >= 2 ?
			    { kind: 'node', handler: value } :
			    { kind: 'fetch', handler: value };
	}
	return null;
}

/* Node 18 takes a .js for CommonJS where no package.json says otherwise. */
async function importAsModule(url) {
	const hooks = `export async function load(url, context, next) {
		return next(url, url === ${JSON.stringify(url)} ?
		    { ...context, format: 'module' } : context);
	}`;

	require('node:module').register(
	    `data:text/javascript,${encodeURIComponent(hooks)}`);
	return import(url);
}

/* query: behind its URL, for a further copy of a module. */
async function exportsOf(file, query = '') {
	const url = require('node:url').pathToFileURL(file).href + query;

	try {
		return await import(url);
	} catch (error) {
		if (!(error instanceof SyntaxError) || !ES_WORDS.test(error.message) ||
		    path.extname(file) !== '.js' || packageType(file) !== null)
			throw error;
		/* a query: what failed stands in the loader's memory */
		return importAsModule(`${url}?module`);
	}
}

/* Rejects with what keeps the file from serving. */
async function load(file) {
	const found = handlerOf((await exportsOf(file)).default);

	if (found === null)
		throw new TypeError(`${file} has no handler: it exports as ` +
		    'default (module.exports) an object with fetch(request), a ' +
		    'function of (request), or one of (req, res)');
	return found;
}

module.exports = { checkSyntax, exportsOf, handlerOf, load };
