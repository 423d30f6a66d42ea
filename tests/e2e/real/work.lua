-- What Lua's library does in a function: each query string is one part.
local parts = {}

function parts.files()
	local name = os.tmpname()
	local out = assert(io.open(name, "w"))
	out:write(string.rep("x", 100000))
	out:close()
	assert(os.rename(name, "/tmp/renamed"))
	local size = assert(io.open("/tmp/renamed")):seek("end")
	assert(os.remove("/tmp/renamed"))
	assert(io.open("/data/lua", "a+")):write("kept"):close()
	assert(not io.open("/fn/new", "w"), "its own folder can be written")
	return size
end

function parts.processes()
	local child = assert(io.popen("printf 'b\\na\\n' | sort"))
	local lines = child:read("a")
	assert(child:close())
	assert(lines == "a\nb\n", lines)
	local _, how, status = os.execute("exit 3")
	assert(how == "exit" and status == 3)
	return io.popen("expr 6 \\* 7"):read("n")
end

function parts.memory()
	local all = {}
	for i = 1, 200000 do
		all[i] = { tostring(i) }
	end
	collectgarbage()
	local made = coroutine.wrap(function()
		for i = 1, 10 do coroutine.yield(i) end
	end)
	made()
	return made() + #all
end

function parts.facts()
	assert(os.setlocale("C.UTF-8"))
	assert(os.getenv("GATEWAY_INTERFACE") == "CGI/1.1")
	return os.date("!%H:%M", 0) .. " " .. utf8.len("äöü")
end

local part = os.getenv("QUERY_STRING")
local is_well, found = xpcall(parts[part], debug.traceback)
io.write("Status: ", is_well and 200 or 500, "\nContent-Type: text/plain\n\n",
	is_well and part .. ": ok " or "", tostring(found))
