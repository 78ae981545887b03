# Passes descriptors with IO::FDPass, one with each call. Arguments and output: process_linux.go, type program.
use strict;
use warnings;
use IO::FDPass;
use POSIX      ();
use Time::HiRes qw(clock_gettime CLOCK_MONOTONIC CLOCK_PROCESS_CPUTIME_ID);

use constant { LINK => 3, FIRST => 4 };

my ($what, $batch, $total, $keep, $pooled) = @ARGV;

sub give_or_lend {
	my ($give) = @_;
	for my $i (0 .. $total - 1) {
		my $fd = FIRST + $i % $pooled;
		if ($give) {
			$fd = POSIX::dup($fd) // die "dup: $!";
			IO::FDPass::send(LINK, $fd) or die "send: $!";
			POSIX::close($fd);
		} else {
			IO::FDPass::send(LINK, $fd) or die "send: $!";
		}
	}
	return ($total);
}

sub receive {
	my ($passed, @inodes) = (0);
	while ($passed < $total) {
		my $fd = IO::FDPass::recv(LINK);
		die "recv: $!" if $fd < 0;
		push @inodes, (POSIX::fstat($fd))[1] if $passed < 8;
		POSIX::close($fd);
		$passed++;
	}
	return ($passed, @inodes);
}

sub nanoseconds { return int(clock_gettime($_[0]) * 1e9) }

$| = 1;
print "ready\n";
readline STDIN;
my ($start, $before) = (nanoseconds(CLOCK_MONOTONIC), nanoseconds(CLOCK_PROCESS_CPUTIME_ID));
my ($passed, @inodes) = $what eq 'send' ? give_or_lend($keep eq 'give') : receive();
my ($end, $cpu) = (nanoseconds(CLOCK_MONOTONIC), nanoseconds(CLOCK_PROCESS_CPUTIME_ID) - $before);
printf qq({"start":%d,"end":%d,"cpu":%d,"passed":%d,"inodes":[%s]}\n), $start, $end, $cpu, $passed, join ',', @inodes;
1 while readline STDIN;
