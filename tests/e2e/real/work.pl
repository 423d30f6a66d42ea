#!/usr/bin/perl
# What Perl's modules do in a function: each query string is one part.
use strict;
use warnings;
use autodie;

sub claim { my ($is_true, $what) = @_; die "$what\n" unless $is_true }

# Modules of C: loaded from /usr, and run.
sub part_xs {
	require List::Util;
	require Digest::SHA;
	require Storable;
	require Encode;
	require Data::Dumper;
	require Time::HiRes;
	require Compress::Zlib;
	claim(Digest::SHA::sha1_hex('') =~ /^da39a3ee/, 'Digest::SHA');
	my $copy = Storable::thaw(Storable::freeze({ a => [1, 2] }));
	claim($copy->{a}[1] == 2, 'Storable');
	claim(length(Encode::encode('UTF-8', "\x{e4}")) == 2, 'Encode');
	my $packed = Compress::Zlib::memGzip('x' x 100000);
	claim(length(Compress::Zlib::memGunzip($packed)) == 100000, 'Zlib');
	Time::HiRes::usleep(1000);
	return List::Util::sum(1 .. 100);
}

sub part_fork {
	my @pids;
	pipe(my $read, my $write);
	for my $n (1 .. 4) {
		my $pid = fork;
		if ($pid == 0) {
			syswrite $write, "$n\n";
			require POSIX;
			POSIX::_exit(0);
		}
		push @pids, $pid;
	}
	close $write;
	my @lines = sort <$read>;
	for my $pid (@pids) {
		waitpid $pid, 0;
		claim($? == 0, "child: $?");
	}
	claim("@lines" eq "1\n 2\n 3\n 4\n", "@lines");
	open(my $sort, '-|', 'printf "b\na\n" | sort');
	chomp(my @sorted = <$sort>);
	close $sort;
	claim("@sorted" eq 'a b', "@sorted");
	local $SIG{ALRM} = sub { die "late\n" };
	alarm 1;
	eval { sleep 20 };
	claim($@ eq "late\n", "alarm: $@");
	return `expr 6 \\* 7`;
}

sub part_sockets {
	require Socket;
	require IO::Socket::UNIX;
	require IO::Select;
	socketpair(my $one, my $two, Socket::AF_UNIX(), Socket::SOCK_STREAM(),
	    Socket::PF_UNSPEC());
	syswrite $one, "pair";
	sysread $two, my $text, 10;
	claim($text eq 'pair', $text);
	my $server = IO::Socket::UNIX->new(Local => '/tmp/p.sock', Listen => 5)
	    or die "listen: $!";
	my $client = IO::Socket::UNIX->new(Peer => '/tmp/p.sock')
	    or die "connect: $!";
	my $served = $server->accept;
	print $client "line\n";
	$client->flush;
	claim(IO::Select->new($served)->can_read(5), 'select');
	return scalar <$served>;
}

sub part_dbi {
	require DBI;
	my $db = DBI->connect('dbi:SQLite:dbname=/data/perl.db', '', '',
	    { RaiseError => 1 });
	my ($mode) = $db->selectrow_array('PRAGMA journal_mode = WAL');
	claim($mode eq 'wal', $mode);
	$db->do('CREATE TABLE IF NOT EXISTS t (a TEXT)');
	$db->do('INSERT INTO t VALUES (?)', undef, 'row');
	return $db->selectrow_array('SELECT a FROM t');
}

sub part_files {
	require File::Temp;
	require File::Copy;
	require File::Find;
	require Fcntl;
	my $folder = File::Temp::tempdir(CLEANUP => 1);
	my ($out, $name) = File::Temp::tempfile(DIR => $folder);
	flock $out, Fcntl::LOCK_EX();
	print $out 'x' x 100000;
	close $out;
	File::Copy::copy($name, '/data/copy') or die "copy: $!";
	File::Copy::move('/data/copy', "$folder/moved") or die "move: $!";
	my $count = 0;
	File::Find::find(sub { $count++ if -f }, $folder);
	dbmopen(my %db, '/data/perldbm', 0600) or die "dbm: $!";
	$db{key} = 'value';
	dbmclose %db;
	return "$count " . -s "$folder/moved";
}

sub part_threads {
	require threads;
	my @workers = map { threads->create(sub { $_[0] ** 2 }, $_) } 1 .. 4;
	my $sum = 0;
	$sum += $_->join for @workers;
	return $sum;
}

sub part_facts {
	require POSIX;
	require Sys::Hostname;
	POSIX::setlocale(POSIX::LC_ALL(), 'C.UTF-8') or die 'locale';
	$ENV{TZ} = 'Asia/Tokyo';
	POSIX::tzset();
	claim(length Sys::Hostname::hostname(), 'hostname');
	claim((getpwuid $>)[7] eq '/tmp', 'home');
	return POSIX::strftime('%H:%M', localtime 0);
}

sub part_network {
	require IO::Socket::INET;
	my $to = IO::Socket::INET->new(PeerAddr => '127.0.0.1:8', Timeout => 2);
	claim(!$to, 'connected');
	return 'no network';
}

my $part = $ENV{QUERY_STRING};
my $text = eval { no strict 'refs'; "$part: ok " . "part_$part"->() };
my $status = defined $text ? 200 : 500;
print "Status: $status\nContent-Type: text/plain\n\n", $text // $@;
