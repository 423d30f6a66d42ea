// What Node's library does in a function: each query string is one part.
import assert from "node:assert";
import child from "node:child_process";
import crypto from "node:crypto";
import fs from "node:fs";
import http from "node:http";
import os from "node:os";
import path from "node:path";
import { promisify } from "node:util";
import { Worker, isMainThread, parentPort, workerData } from
	"node:worker_threads";
import zlib from "node:zlib";

function primes(below) {
	let found = 0;
	for (let n = 2; n < below; n++) {
		let d = 2;
		while (d * d <= n && n % d) d++;
		if (d * d > n) found++;
	}
	return found;
}

function inWorker(data) {
	return new Promise((resolve, reject) => {
		const worker = new Worker(new URL(import.meta.url),
			{ workerData: data });
		worker.once("message", resolve);
		worker.once("error", reject);
	});
}

// (module (func (export "add") (param i32 i32) (result i32) …) (memory 1 16))
const WASM = Uint8Array.from([
	0, 0x61, 0x73, 0x6d, 1, 0, 0, 0,
	1, 7, 1, 0x60, 2, 0x7f, 0x7f, 1, 0x7f,
	3, 2, 1, 0,
	5, 4, 1, 1, 1, 16,
	7, 13, 2, 3, 0x61, 0x64, 0x64, 0, 0, 3, 0x6d, 0x65, 0x6d, 2, 0,
	10, 9, 1, 7, 0, 0x20, 0, 0x20, 1, 0x6a, 0x0b,
]);

const parts = {
	async workers() {
		const shared = new Int32Array(new SharedArrayBuffer(4));
		const found = await Promise.all([1, 2].map(
			() => inWorker({ below: 20000, shared })));
		assert.deepEqual(found, [2262, 2262]);
		return Atomics.load(shared, 0);
	},
	async wasm() {
		const { instance } = await WebAssembly.instantiate(WASM);
		const { add, mem } = instance.exports;
		mem.grow(3);
		assert.equal(mem.buffer.byteLength, 4 * 65536);
		let sum = 0;
		for (let i = 0; i < 200000; i++) sum = add(sum, i & 7);
		return sum;
	},
	async jit() {
		const parse = new Function("s", "return s.match(/(\\d+)-(\\d+)/)");
		let sum = 0;
		for (let i = 0; i < 100000; i++) sum += parse(`x${i}-7`)[2].length;
		return sum;
	},
	async files() {
		for (const base of ["/tmp", "/data"]) {
			const folder = await fs.promises.mkdtemp(`${base}/n-`);
			const name = path.join(folder, "a");
			await fs.promises.writeFile(name, "one\n");
			await fs.promises.appendFile(name, "two\n");
			await fs.promises.copyFile(name, name + "2");
			await fs.promises.rename(name + "2", name + "3");
			await fs.promises.symlink("a", path.join(folder, "link"));
			assert.deepEqual(fs.readdirSync(folder), ["a", "a3", "link"]);
			assert.equal(fs.readFileSync(`${folder}/link`, "utf8"),
				"one\ntwo\n");
			const out = fs.createWriteStream(name);
			await new Promise((done) => out.end("x".repeat(300000), done));
			assert.equal(fs.statSync(name).size, 300000);
			fs.rmSync(folder, { recursive: true });
		}
		return new Promise((resolve) => {
			const watch = fs.watch("/tmp", (event, name) => {
				watch.close();
				resolve(name);
			});
			fs.writeFileSync("/tmp/seen", "");
		});
	},
	async crypto() {
		const { privateKey, publicKey } = await promisify(
			crypto.generateKeyPair)("ec", { namedCurve: "P-256" });
		const signed = crypto.sign("sha256", Buffer.from("x"), privateKey);
		assert(crypto.verify("sha256", Buffer.from("x"), publicKey, signed));
		const key = await promisify(crypto.scrypt)("secret", "salt", 32);
		const iv = crypto.randomBytes(12);
		const cipher = crypto.createCipheriv("aes-256-gcm", key, iv);
		cipher.update("text");
		cipher.final();
		assert.equal(cipher.getAuthTag().length, 16);
		assert.equal((await globalThis.crypto?.subtle.digest("SHA-256",
			Buffer.from("x")) ?? { byteLength: 32 }).byteLength, 32);
		const packed = await promisify(zlib.gzip)(Buffer.alloc(100000));
		assert.equal(zlib.gunzipSync(packed).length, 100000);
		return crypto.createHash("sha256").update("").digest("hex").slice(0, 8);
	},
	async children() {
		const { stdout } = await promisify(child.execFile)("sort",
			["/etc/passwd"]);
		assert(stdout.includes("root:x:0:0"));
		const cat = child.spawn("cat");
		cat.stdin.end("through a child");
		let text = "";
		for await (const piece of cat.stdout) text += piece;
		assert.equal(text, "through a child");
		const late = child.spawnSync("sleep", ["20"], { timeout: 200 });
		assert.equal(late.signal, "SIGTERM");
		return child.execSync("echo $((6 * 7))").toString().trim();
	},
	async http() {
		const server = http.createServer((request, response) => {
			let size = 0;
			request.on("data", (data) => size += data.length);
			request.on("end", () => response.end(`${request.url} ${size}`));
		});
		await new Promise((done) => server.listen("/tmp/http.sock", done));
		const text = await new Promise((resolve, reject) => {
			const request = http.request({ socketPath: "/tmp/http.sock",
				path: "/x", method: "POST" }, (response) => {
				let all = "";
				response.on("data", (data) => all += data);
				response.on("end", () => resolve(all));
			});
			request.on("error", reject);
			request.end("y".repeat(200000));
		});
		server.close();
		return text;
	},
	async network() {
		await assert.rejects(fetch("http://127.0.0.1:8/"));
		return "no network";
	},
	async facts() {
		assert(os.availableParallelism() > 0 && os.totalmem() > 0);
		assert.equal(os.userInfo().username, "fn");
		assert.equal(new Date(0).toLocaleString("de-DE",
			{ timeZone: "Asia/Tokyo", month: "long" }), "Januar");
		return process.memoryUsage().rss > 0;
	},
};

async function main() {
	const name = process.env.QUERY_STRING;
	let status = 200, text;
	try {
		text = `${name}: ok ${await parts[name]()}`;
	} catch (error) {
		status = 500;
		text = error.stack;
	}
	process.stdout.write(`Status: ${status}\nContent-Type: text/plain\n\n` +
		text);
}

if (isMainThread) {
	await main();
} else {
	Atomics.add(workerData.shared, 0, 1);
	parentPort.postMessage(primes(workerData.below));
}
