# A Markdown page: pages/NAME.md beside this file, as HTML.
#	curl http://127.0.0.1:8080/fn/manual
#	curl http://127.0.0.1:8080/fn/manual/markdown
# What is understood: headings, paragraphs, lists, quotes, code, emphasis, links.
use strict;
use warnings;
use File::Basename;

my %ESCAPED = ('&' => '&amp;', '<' => '&lt;', '>' => '&gt;', '"' => '&quot;');

sub escape {
	my ($text) = @_;

	$text =~ s/([&<>"])/$ESCAPED{$1}/g;
	return $text;
}

# Within a line; code first, since nothing in it is Markdown.
sub inline {
	my @parts = split /(`[^`]+`)/, $_[0];

	for my $part (@parts) {
		if ($part =~ /\A`(.+)`\z/s) {
			$part = '<code>' . escape($1) . '</code>';
			next;
		}
		$part = escape($part);
		$part =~ s{\[([^\]]+)\]\(((?:https?://|/|\#)?[\w./?=%\#~-]+)\)}
		    {<a href="$2">$1</a>}g;
		$part =~ s{\*\*(.+?)\*\*}{<strong>$1</strong>}gs;
		$part =~ s{\*(.+?)\*}{<em>$1</em>}gs;
	}
	return join '', @parts;
}

sub block {
	my ($text) = @_;

	if ($text =~ /\A(#{1,6}) +(.*)\z/s) {
		my $level = length $1;
		return "<h$level>" . inline($2) . "</h$level>\n";
	}
	if ($text =~ /\A(?:- |\d+\. )/) {
		my $kind = $text =~ /\A-/ ? 'ul' : 'ol';
		my @items = split /^(?:- |\d+\. )/m, $text;
		shift @items;
		return "<$kind>\n" . join('', map { s/\s+\z//;
		    '<li>' . inline($_) . "</li>\n" } @items) . "</$kind>\n";
	}
	if ($text =~ /\A> /) {
		$text =~ s/^> ?//mg;
		return '<blockquote>' . inline($text) . "</blockquote>\n";
	}
	if ($text =~ /\A(?: {4}|\t)/) {
		$text =~ s/^(?: {4}|\t)//mg;
		return '<pre>' . escape($text) . "</pre>\n";
	}
	return '<p>' . inline($text) . "</p>\n";
}

sub page {
	my ($name, $text) = @_;
	my $body = join '', map { block($_) }
	    grep { /\S/ } split /\n{2,}/, $text =~ s/\s+\z//r;

	return "<!DOCTYPE html>\n<meta charset=\"utf-8\">\n<title>" .
	    escape($name) . "</title>\n$body";
}

sub {
	my ($env) = @_;
	my ($name) = $env->{PATH_INFO} =~ m{\A/?([a-z0-9-]*)\z};
	my $html = ['Content-Type' => 'text/html; charset=utf-8'];

	$name = 'index' if defined $name && $name eq '';
	if (!defined $name || !open(my $file, '<', dirname(__FILE__) . "/pages/$name.md")) {
		return [404, $html, [page('no page', "# There is no such page\n")]];
	} else {
		local $/;
		return [200, $html, [page($name, scalar <$file>)]];
	}
};
