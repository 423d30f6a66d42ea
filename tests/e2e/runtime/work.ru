# frozen_string_literal: true

# What tests/e2e/test_runtime_ruby.py and test_runtime_scripted.py
# ask for, one part for each path.

# Calls its block with what takes the pieces of a body.
class Pieces
  def initialize(&block)
    @block = block
  end

  def each(&taker)
    @block.call(taker)
  end

  def close
    warn 'the body was closed'
  end
end

module Parts
  module_function

  def text(*parts)
    [200, { 'Content-Type' => 'text/plain' }, parts]
  end

  def pieces(&block)
    [200, { 'Content-Type' => 'text/plain' }, Pieces.new(&block)]
  end

  def hello(_env)
    @served = (@served || 0) + 1
    text("hello #{$PROCESS_ID || Process.pid} #{@served}\n")
  end

  def env(env)
    text(*env.select { |_, value| value.is_a?(String) }.map { |name, value| "#{name}=#{value}\n" })
  end

  def process(_env)
    text(*ENV.map { |name, value| "#{name}=#{value}\n" })
  end

  def echo(env)
    body = +''
    while (piece = env['rack.input'].read(10_000))
      body << piece
    end
    [200, { 'Content-Length' => body.bytesize.to_s }, [body]]
  end

  def twice(env)
    first = env['rack.input'].read
    env['rack.input'].rewind
    second = env['rack.input'].read
    text((first == second).to_s, " #{first.bytesize}")
  end

  def lines(env)
    pieces do |taker|
      env['rack.input'].each do |line|
        warn "heard #{line}"
        taker.call(line.upcase)
      end
    end
  end

  def partial(env)
    pieces do |taker|
      loop { taker.call(env['rack.input'].readpartial(100).upcase) }
    rescue EOFError
      taker.call('END')
    end
  end

  def called(env)
    body = lambda do |stream|
      while (line = env['rack.input'].gets)
        stream.write(line.upcase)
      end
      stream << 'END'
      stream.close
    end
    [200, { 'Content-Type' => 'text/plain' }, body]
  end

  def events(_env)
    pieces do |taker|
      taker.call("data: 1\n\n")
      sleep 0.01 until File.exist?('/data/go')
      taker.call("data: 2\n\n")
    end
  end

  def flood(_env)
    pieces do |taker|
      32.times { taker.call('x' * 65_536) }
      warn 'all of the flood is written'
    end
  end

  def endless(_env)
    pieces do |taker|
      loop { taker.call('x' * 4096) }
    rescue StandardError => error
      warn "the write said: #{error.message}"
      raise
    end
  end

  def file(_env)
    body = Pieces.new { raise 'to_path is not used' }
    def body.to_path
      '/usr/lib/ruby/3.1.0/set.rb'
    end
    [200, { 'Content-Type' => 'text/plain' }, body]
  end

  def deep(_env)
    inner
  end

  def inner
    raise 'a deep failure'
  end

  def late(_env)
    pieces do |taker|
      taker.call("half of it\n")
      raise 'a late failure'
    end
  end

  def nothing(_env); end

  def leave(_env)
    exit 3
  end

  def number(_env)
    text(42)
  end

  def print(env)
    $stdout.puts 'a printed line'
    $stdout.print 'a line without an end'
    $stdout.puts
    warn 'a warned line'
    env['rack.errors'].puts 'a line to rack.errors'
    text("nothing else\n")
  end

  def split(_env)
    [200, { 'X-Split' => "a\r\nSet-Cookie: evil=1" }, ['x']]
  end

  def nul(_env)
    [200, { 'X-Nul' => "a\0b" }, ['x']]
  end

  def badname(_env)
    [200, { "X-Bad: y\r\nX" => 'a' }, ['x']]
  end

  def cookies(_env)
    [200, { 'Set-Cookie' => "a=1\nb=2" }, ['x']]
  end

  def array(_env)
    [200, { 'set-cookie' => %w[a=1 b=2] }, ['x']]
  end

  def gone(_env)
    [410, { 'Content-Type' => 'text/plain' }, ["gone\n"]]
  end

  def sized(_env)
    [200, { 'Content-Length' => '6' }, ["sized\n"]]
  end

  def slow(env)
    warn 'slow has begun'
    text("slow heard #{env['rack.input'].gets}")
  end

  def keep(_env)
    [200, { 'Content-Type' => 'text/plain' }, lambda { |stream|
      stream.write("kept\n")
      @kept = stream
    }]
  end

  def kept(_env)
    @kept.write("another's words\n")
    text('it could be written')
  rescue IOError => error
    text("the write said: #{error.message}")
  end

  # The next three: a child of the function comes back from it, or does not.
  def child(_env)
    pieces do |taker|
      taker.call("begun\n")
      taker.call("child\n") unless (pid = fork)
      Process.wait(pid)
      taker.call("parent\n")
    end
  end

  def childdies(_env)
    pieces do |taker|
      taker.call("begun\n")
      raise 'of a child' unless (pid = fork)

      Process.wait(pid)
      taker.call("parent\n")
    end
  end

  def childleaves(_env)
    pieces do |taker|
      taker.call("begun\n")
      exit(7) unless (pid = fork)
      Process.wait(pid)
      taker.call("parent #{$?.exitstatus}\n")
    end
  end

  def stdin(_env)
    text(`readlink /proc/self/fd/0; cat`)
  end

  def loaded(_env)
    text($LOADED_FEATURES.join("\n"))
  end
end

run(lambda do |env|
  name = env['PATH_INFO'][%r{\A/(\w+)}, 1] || 'hello'
  next [404, { 'Content-Type' => 'text/plain' }, ["no part\n"]] unless Parts.respond_to?(name)

  Parts.public_send(name, env)
end)
