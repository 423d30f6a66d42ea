# frozen_string_literal: true

# FastCGI 1.0, an application's side: records, one request at a time, its body as
# it comes.  fcgi-host-ruby is its user; knows nothing of Rack.

require 'socket'

module FcgiHost
  BEGIN_REQUEST = 1
  ABORT_REQUEST = 2
  END_REQUEST = 3
  PARAMS = 4
  STDIN = 5
  STDOUT = 6
  UNKNOWN_TYPE = 11
  RESPONDER = 1
  AUTHORIZER = 2
  KEEP_CONN = 1
  REQUEST_COMPLETE = 0
  CANT_MPX_CONN = 1
  UNKNOWN_ROLE = 3

  PIECE = 64 * 1024
  RECORD_MAX = 65_528
  PARAMS_MAX = 1 << 20
  # So much of a body is kept for rewind.
  KEPT_MAX = 1 << 20

  # Nobody waits for the answer any more.
  class ClientLeft < IOError; end
  # What came is no FastCGI.
  class Broken < StandardError; end

  # Records, both ways.  What is to be sent waits in a buffer until flush.
  class Connection
    def initialize(socket)
      @socket = socket
      @in = String.new(encoding: Encoding::BINARY)
      @more = String.new(encoding: Encoding::BINARY)
      @out = String.new(encoding: Encoding::BINARY)
    end

    def wait
      @socket.wait_readable if @in.empty?
    end

    # [type, id, content]; nil at the end of the connection.
    def read_record
      until (record = cut)
        return nil unless (more = @socket.read_nonblock(PIECE, @more, exception: false))

        more == :wait_readable ? @socket.wait_readable : @in << more
      end
      record
    rescue SystemCallError
      nil
    end

    # The same if it is there, else nil; false at the end.
    def read_record_now
      until (record = cut)
        more = @socket.read_nonblock(PIECE, @more, exception: false)
        return false if more.nil?
        return nil if more == :wait_readable

        @in << more
      end
      record
    rescue SystemCallError
      false
    end

    def put(type, id, content)
      @out << [1, type, id, content.bytesize, 0, 0].pack('CCnnCC') << content
    end

    def put_stream(type, id, data)
      at = 0
      while at < data.bytesize
        put(type, id, data.byteslice(at, RECORD_MAX))
        at += RECORD_MAX
        flush if @out.bytesize >= PIECE
      end
    end

    def put_end(id, status, exit_code = 0)
      put(END_REQUEST, id, [exit_code, status, 0, 0, 0].pack('NCCCC'))
    end

    def flush
      @socket.write(@out) unless @out.empty?
    rescue SystemCallError
      raise ClientLeft, 'the client has left'
    ensure
      @out.clear
    end

    def close
      @socket.close
    end

    private

    def cut
      return nil if @in.bytesize < 8

      version, type, id, length, padding = @in.unpack('CCnnC')
      raise Broken, "a record of version #{version}" if version != 1
      return nil if @in.bytesize < 8 + length + padding

      record = @in.slice!(0, 8 + length + padding)
      [type, id, record.byteslice(8, length)]
    end
  end

  # rack.input: the body as it comes.
  class Input
    def initialize(request)
      @request = request
      @store = String.new(encoding: Encoding::BINARY)
      @at = 0
      @is_kept = true
      @is_lost = false
    end

    # For the request: more of the body.
    def <<(data)
      @store << data
    end

    def size_waiting
      @store.bytesize - @at
    end

    # Like IO#read: waits until so many bytes are there, or the end.
    def read(length = nil, buffer = nil)
      need
      raise ArgumentError, "negative length #{length}" if length&.negative?

      fill(length)
      data = take(length || size_waiting)
      data = nil if data.empty? && length&.positive?
      buffer&.replace(data || '')
      buffer && data ? buffer : data
    end

    # Like IO#readpartial: what there is, and waits only if there is nothing.
    def readpartial(length, buffer = nil)
      need
      fill(1)
      raise EOFError, 'end of the body' if size_waiting.zero?

      data = take(length)
      buffer ? buffer.replace(data) : data
    end

    def gets
      need
      from = @at
      until (stop = @store.index("\n", from))
        from = @store.bytesize
        break unless @request.read_body
      end
      data = take(stop ? stop + 1 - @at : size_waiting)
      data.empty? ? nil : data
    end

    def each
      while (line = gets)
        yield line
      end
      self
    end

    # A body of more than KEPT_MAX bytes can be read once.
    def rewind
      @is_lost = true unless @is_kept
      @at = 0 if @is_kept
      0
    end

    def close; end

    def external_encoding
      Encoding::BINARY
    end

    def binmode?
      true
    end

    private

    def need
      raise IOError, 'the body is too long to be read again' if @is_lost
    end

    def fill(length)
      nil while (length.nil? || size_waiting < length) && @request.read_body
    end

    def take(length)
      data = @store.byteslice(@at, length) || ''.b
      @at += data.bytesize
      forget if @at > KEPT_MAX || !@is_kept
      data
    end

    def forget
      @is_kept = false
      @store = @store.byteslice(@at, @store.bytesize - @at)
      @at = 0
    end
  end

  # One request on a connection: its params, its body, its answer's bytes.  A thread
  # of the function may write too, but none behind the end, where the connection is
  # the next request's, and no child: it is the parent's.
  class Request
    attr_reader :params, :input

    # The next one, or nil when the connection is at its end.
    def self.read(connection)
      while (type, id, content = connection.read_record)
        if id.zero?
          connection.put(UNKNOWN_TYPE, 0, [type, *[0] * 7].pack('C8'))
        elsif type == BEGIN_REQUEST
          role, flags = content.unpack('nC')
          return new(connection, id, flags) if [RESPONDER, AUTHORIZER].include?(role)

          connection.put_end(id, UNKNOWN_ROLE)
        else
          next
        end
        connection.flush
      end
      nil
    end

    def initialize(connection, id, flags)
      @connection = connection
      @id = id
      @is_kept = flags.to_i.anybits?(KEEP_CONN)
      @is_body_ended = @is_deaf = @has_left = @is_over = false
      @writer = Mutex.new
      @owner = Process.pid
      @params = {}
      @input = Input.new(self)
      text = String.new(encoding: Encoding::BINARY)
      while (piece = content_of(PARAMS)) && !piece.empty?
        raise Broken, 'too many params' if (text << piece).bytesize > PARAMS_MAX
      end
      raise ClientLeft, 'the client has left' unless piece

      take_pairs(text)
    end

    # For a child that the function has forked.
    def foreign?
      Process.pid != @owner
    end

    def kept?
      @is_kept && !@has_left
    end

    # Waits for more of the body; false at its end.
    def read_body
      return false if @is_body_ended

      over! if @is_over
      take_body(content_of(STDIN))
    end

    def write(data)
      as_writer do
        look
        @connection.put_stream(STDOUT, @id, data)
      end
    end

    def flush
      as_writer { @connection.flush }
    end

    def finish(exit_code)
      as_writer do
        @is_over = true
        @connection.put(STDOUT, @id, '')
        @connection.put_end(@id, REQUEST_COMPLETE, exit_code)
        @connection.flush
      end
    end

    private

    def as_writer
      @writer.synchronize do
        over! if @is_over || foreign?
        yield
      rescue ClientLeft
        @has_left = true
        raise
      end
    end

    def over!
      raise IOError, 'the request is over'
    end

    def left!
      @has_left = true
      raise ClientLeft, 'the client has left'
    end

    # The content of the next record of a stream; nil when there is no more.
    def content_of(stream)
      while (type, id, content = @connection.read_record)
        if id != @id
          other(type, id)
        elsif type == stream
          return content
        elsif type == ABORT_REQUEST
          left!
        end
      end
      nil
    end

    def other(type, id)
      return if type != BEGIN_REQUEST || id.zero?

      @connection.put_end(id, CANT_MPX_CONN)
      @connection.flush
    end

    def take_body(content)
      left! unless content
      @is_body_ended = content.empty?
      @input << content
      !@is_body_ended
    end

    # Whether the client has left, as far as that can be told without taking more
    # of a body than the function wants.  Who only sends no more still listens.
    def look
      left! if @has_left
      until @is_deaf || @input.size_waiting > PIECE
        type, id, content = @connection.read_record_now
        return if type.nil?

        @is_deaf = true if type == false
        next unless id == @id

        left! if type == ABORT_REQUEST
        take_body(content) if type == STDIN && !@is_body_ended
      end
    end

    def take_pairs(text)
      at = 0
      while at < text.bytesize
        name, at = length_at(text, at)
        value, at = length_at(text, at)
        raise Broken, 'params are cut' if at + name + value > text.bytesize

        @params[text.byteslice(at, name)] = text.byteslice(at + name, value)
        at += name + value
      end
    end

    def length_at(text, at)
      length = text.getbyte(at)
      return [length, at + 1] if length && length < 128
      raise Broken, 'params are cut' if at + 4 > text.bytesize

      [text.byteslice(at, 4).unpack1('N') & 0x7fffffff, at + 4]
    end
  end
end
