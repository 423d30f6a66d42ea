# What tests/e2e/test_runtime_perl.py and test_runtime_scripted.py
# ask for, one part for each path.
use strict;
use warnings;

my $served = 0;
my $kept;

sub text {
	return [200, ['Content-Type' => 'text/plain'], [@_]];
}

my %parts = (
	hello => sub { text("hello $$ ", ++$served, "\n") },
	env => sub {
		my ($env) = @_;
		text(map { "$_=$env->{$_}\n" } sort grep { !ref $env->{$_} } keys %$env);
	},
	process => sub { text(map { "$_=$ENV{$_}\n" } sort keys %ENV) },
	echo => sub {
		my ($env) = @_;
		my ($body, $piece) = ('', '');
		$body .= $piece while $env->{'psgi.input'}->read($piece, 10_000) > 0;
		return [200, ['Content-Type' => 'application/octet-stream',
		    'Content-Length' => length $body], [$body]];
	},
	lines => sub {
		my ($env) = @_;
		return sub {
			my $writer = $_[0]->([200, ['Content-Type' => 'text/plain']]);
			while (defined(my $line = $env->{'psgi.input'}->getline)) {
				warn "heard $line";
				$writer->write(uc $line);
			}
			$writer->close;
		};
	},
	events => sub {
		return sub {
			my $writer = $_[0]->([200, ['Content-Type' => 'text/event-stream']]);
			$writer->write("data: 1\n\n");
			select(undef, undef, undef, 0.01) until -e '/data/go';
			$writer->write("data: 2\n\n");
			$writer->close;
		};
	},
	flood => sub {
		return sub {
			my $writer = $_[0]->([200, ['Content-Type' => 'text/plain']]);
			$writer->write('x' x 65536) for 1 .. 32;
			warn "all of the flood is written\n";
			$writer->close;
		};
	},
	endless => sub {
		return sub {
			my $writer = $_[0]->([200, ['Content-Type' => 'text/plain']]);
			my $is_cut = !eval { $writer->write('x' x 4096) while 1; 1 };
			warn "the write said: $@";
			die $@;
		};
	},
	handle => sub {
		open(my $file, '<', '/usr/share/perl/5.36/strict.pm') or die $!;
		return [200, ['Content-Type' => 'text/plain'], $file];
	},
	deep => sub { inner() },
	late => sub {
		return sub {
			my $writer = $_[0]->([200, ['Content-Type' => 'text/plain']]);
			$writer->write("half of it\n");
			die "a late failure\n";
		};
	},
	getline => sub {
		return [200, ['Content-Type' => 'text/plain'],
		    bless { left => 3 }, 'Countdown'];
	},
	silent => sub { return sub { } },
	nothing => sub { return },
	wide => sub { text("\x{263a}") },
	latin => sub { my $s = "\x{e4}"; utf8::upgrade($s); text($s) },
	print => sub {
		print "a printed line\n";
		print STDOUT "a line to STDOUT\n";
		warn "a warned line\n";
		$_[0]{'psgi.errors'}->print("a line to psgi.errors\n");
		text("nothing else\n");
	},
	split => sub { [200, ['X-Split' => "a\r\nSet-Cookie: evil=1"], ['x']] },
	nul => sub { [200, ['X-Nul' => "a\0b"], ['x']] },
	badname => sub { [200, ["X-Bad: y\r\nX" => 'a'], ['x']] },
	cookies => sub {
		[200, ['Set-Cookie' => 'a=1', 'Set-Cookie' => 'b=2'], ['x']];
	},
	gone => sub { [410, ['Content-Type' => 'text/plain'], ["gone\n"]] },
	sized => sub { [200, ['Content-Length' => 6], ["sized\n"]] },
	cleanup => sub {
		my ($env) = @_;
		push @{$env->{'psgix.cleanup.handlers'}},
		    sub { warn "cleaned up behind $_[0]{PATH_INFO}\n" };
		text("x\n");
	},
	harakiri => sub { $_[0]{'psgix.harakiri.commit'} = 1; text("$$\n") },
	slow => sub {
		my ($env) = @_;
		warn "slow has begun\n";
		my $line = $env->{'psgi.input'}->getline;
		text("slow heard $line");
	},
	keep => sub {
		return sub {
			$kept = $_[0]->([200, ['Content-Type' => 'text/plain']]);
			$kept->write("kept\n");
		};
	},
	kept => sub {
		eval { $kept->write("another's words\n"); 1 } or
		    return text("the write said: $@");
		text('it could be written');
	},
	map({ my $act = $_; $act => sub {
		my ($env) = @_;
		return sub {
			my $writer = $_[0]->([200, ['Content-Type' => 'text/plain']]);
			$writer->write("begun\n");
			acts()->{$act}->($env, $writer);
			$writer->write("parent\n");
		};
	} } qw(exits fills child childdies childleaves)),
	stdin => sub { text(`readlink /proc/self/fd/0; cat`) },
	loaded => sub { text(join ' ', sort keys %INC) },
);

# What is done in the midst of an answer.
sub acts {
	return {
		exits => sub { exit 0 },
		fills => sub { my $all = 'x' x 1_000_000; $all .= $all while 1 },
		child => sub { $_[1]->write("child\n") if !fork; wait },
		childdies => sub { die "of a child\n" if !fork; wait },
		childleaves => sub { exit 0 if !fork; wait },
	};
}

sub inner {
	die "a deep failure";
}

sub Countdown::getline {
	my ($self) = @_;
	die "the body broke\n" if $self->{left} == 0 && $self->{breaks};
	return $self->{left} ? $self->{left}-- . "\n" : undef;
}

sub Countdown::close {
	warn "the body was closed\n";
}

sub {
	my ($env) = @_;
	my ($name) = $env->{PATH_INFO} =~ m{\A/(\w+)};
	my $part = $parts{$name || 'hello'} or
	    return [404, ['Content-Type' => 'text/plain'], ["no part\n"]];
	return $part->($env);
};
