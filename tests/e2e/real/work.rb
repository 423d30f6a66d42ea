# What Ruby's library does in a function: each query string is one part.
def claim(is_true, what)
  raise what.to_s unless is_true
end

def part_threads
  queue = Queue.new
  threads = 10.times.map { |n| Thread.new { queue << n * n } }
  threads.each(&:join)
  sum = 0
  sum += queue.pop until queue.empty?
  # the machine code compiler, where the build has it
  claim(!defined?(RubyVM::YJIT) || RubyVM::YJIT.enabled?, "YJIT is off")
  100_000.times { |n| sum += n & 1 }
  sum
end

def part_processes
  require "open3"
  out, status = Open3.capture2("tr a-z A-Z", stdin_data: "through a child")
  claim(status.success? && out == "THROUGH A CHILD", out)
  read, write = IO.pipe
  pid = fork { write << "from a fork"; exit! 0 }
  write.close
  claim(read.read == "from a fork", "fork")
  Process.wait(pid)
  claim($?.success?, $?)
  require "timeout"
  begin
    Timeout.timeout(0.2) { system("sleep", "20") }
    raise "no time-out"
  rescue Timeout::Error
  end
  Process.clock_gettime(Process::CLOCK_MONOTONIC)
  `expr 6 \\* 7`
end

def part_files
  require "tempfile"
  require "tmpdir"
  require "fileutils"
  require "pstore"
  require "zlib"
  Tempfile.create do |file|
    file.flock(File::LOCK_EX)
    file.write("x" * 100_000)
    file.flush
    FileUtils.cp(file.path, "/data/copy")
  end
  Dir.mktmpdir { |dir| FileUtils.mv("/data/copy", "#{dir}/moved") }
  store = PStore.new("/data/pstore")
  store.transaction { store["a"] = [1, 2] }
  packed = Zlib.gzip("y" * 100_000)
  claim(Zlib.gunzip(packed).size == 100_000, "zlib")
  store.transaction(true) { store["a"] }
end

def part_openssl
  require "openssl"
  require "socket"
  key = OpenSSL::PKey::EC.generate("prime256v1")
  name = OpenSSL::X509::Name.parse("/CN=localhost")
  cert = OpenSSL::X509::Certificate.new
  cert.version, cert.serial, cert.public_key = 2, 1, key
  cert.subject = cert.issuer = name
  cert.not_before, cert.not_after = Time.now - 60, Time.now + 3600
  cert.sign(key, "SHA256")
  serving = OpenSSL::SSL::SSLContext.new
  serving.cert, serving.key = cert, key
  here, there = UNIXSocket.pair
  thread = Thread.new do
    tls = OpenSSL::SSL::SSLSocket.new(there, serving).accept
    tls.puts(tls.gets.upcase)
  end
  asking = OpenSSL::SSL::SSLContext.new
  asking.cert_store = OpenSSL::X509::Store.new.add_cert(cert)
  asking.verify_mode = OpenSSL::SSL::VERIFY_PEER
  tls = OpenSSL::SSL::SSLSocket.new(here, asking).connect
  tls.puts("hello")
  line = tls.gets
  thread.join
  OpenSSL::X509::Store.new.set_default_paths
  "#{line.chomp} #{tls.ssl_version}"
end

def part_fiddle
  require "fiddle"
  libc = Fiddle.dlopen(nil)
  strlen = Fiddle::Function.new(libc["strlen"], [Fiddle::TYPE_VOIDP],
                                Fiddle::TYPE_SIZE_T)
  order = Class.new(Fiddle::Closure) do
    def call(a, b)
      a.to_s(1) <=> b.to_s(1)
    end
  end.new(Fiddle::TYPE_INT, [Fiddle::TYPE_VOIDP, Fiddle::TYPE_VOIDP])
  letters = Fiddle::Pointer["hello".dup]
  Fiddle::Function.new(libc["qsort"],
                       [Fiddle::TYPE_VOIDP, Fiddle::TYPE_SIZE_T,
                        Fiddle::TYPE_SIZE_T, Fiddle::TYPE_VOIDP],
                       Fiddle::TYPE_VOID).call(letters, 5, 1, order)
  "#{letters.to_s} #{strlen.call('four')}"
end

def part_facts
  require "etc"
  require "json"
  require "time"
  require "securerandom"
  claim(Etc.getpwuid.dir == "/tmp" && Etc.nprocessors > 0, "etc")
  claim(SecureRandom.hex.size == 32, "random")
  ENV["TZ"] = "Asia/Tokyo"
  JSON.generate("hour" => Time.at(0).hour)
end

def part_network
  require "net/http"
  begin
    Net::HTTP.get(URI("http://127.0.0.1:8/"))
  rescue SystemCallError => error
    return error.class
  end
  raise "connected"
end

part = ENV["QUERY_STRING"]
begin
  status, text = 200, "#{part}: ok #{send("part_#{part}")}"
rescue Exception => error
  status, text = 500, error.full_message(highlight: false)
end
print "Status: #{status}\nContent-Type: text/plain\n\n#{text}"
