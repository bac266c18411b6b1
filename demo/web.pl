# A small web server: answers each visit with a number, which starts from 1 again when the server is restarted.
use strict;
use warnings;
use IO::Socket::INET;

$| = 1;
my $port = shift // 47180;
open my $pid, '>', 'web.pid' or die "web.pid: $!";
print {$pid} $$;
close $pid;
my $listener = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => $port, Listen => 16, ReuseAddr => 1)
    or die "port $port: $!";
print "serving on http://127.0.0.1:$port/ as process $$\n";
my $visits = 0;
while (my $visitor = $listener->accept) {
    while (defined(my $line = <$visitor>)) { last if $line =~ /^\r?$/ }
    my $body = "hello, visit " . ++$visits . " of process $$\n";
    print $visitor "HTTP/1.0 200 OK\r\nContent-Length: " . length($body) . "\r\n\r\n" . $body;
    close $visitor;
}
