// The group-by of ledgers.py in DuckDB: usage: ledgers-duckdb.mjs LOG
import { createRequire } from "node:module";

const require = createRequire(process.env.DUCKDB_MODULES + "/x.js");
const { DuckDBInstance } = require(
  process.env.DUCKDB_MODULES + "/@duckdb/node-api");

const instance = await DuckDBInstance.create(":memory:");
const connection = await instance.connect();
const query = `
  select "function", substr("time", 1, 10) as day, count(*),
    sum(billed_ms)::bigint, sum(cpu_us)::bigint, sum(mib_ms)::bigint,
    sum(bytes_out)::bigint
  from read_json('${process.argv[2]}', format = 'newline_delimited',
    columns = {type: 'VARCHAR', "function": 'VARCHAR', "time": 'VARCHAR',
      outcome: 'VARCHAR', billed_ms: 'BIGINT', cpu_us: 'BIGINT',
      mib_ms: 'BIGINT', bytes_out: 'BIGINT'})
  where type = 'exec' and outcome not in ('refused', 'lost')
  group by all`;
const begin = performance.now();
const rows = (await connection.runAndReadAll(query)).getRows();
const seconds = (performance.now() - begin) / 1000;
const groups = Object.fromEntries(rows.map(([name, day, ...values]) =>
  [`${name} ${day}`, values.map(Number)]));
console.log(JSON.stringify({ seconds, groups }));
