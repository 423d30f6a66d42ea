# frozen_string_literal: true

# Server-sent events by Rack: each part of the body goes out as it is made.
#	curl -N 'http://127.0.0.1:8080/fn/ticker?3'

# What Rack calls each on.
class Ticks
  def initialize(count)
    @count = count
  end

  def each
    @count.times do |number|
      sleep 1 if number.positive?
      yield "id: #{number}\ndata: #{Time.now.utc.strftime('%T')}\n\n"
    end
  end
end

run(lambda do |env|
  count = env['QUERY_STRING'][/\A\d\d?\z/] || '5'
  [200, { 'Content-Type' => 'text/event-stream', 'X-Accel-Buffering' => 'no' },
   Ticks.new(count.to_i)]
end)
