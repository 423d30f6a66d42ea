# What a function sees of the machine: a CGI program in Perl.
use strict;
use warnings;

opendir(my $proc, '/proc') or die "/proc: $!\n";
my $processes = grep { /^\d+$/ } readdir($proc);
closedir($proc);

print "Content-Type: text/plain\n\n";
print "user $<, group $(\n";
print "processes in sight: $processes\n";
print '/etc/shadow: ', (-e '/etc/shadow' ? 'there' : 'absent'), "\n";
print "environment:\n";
print "  $_=$ENV{$_}\n" for sort keys %ENV;
