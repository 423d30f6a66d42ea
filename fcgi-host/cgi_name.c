#include "fcgi-host/cgi_name.h"

#include <limits.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>

/* What a name is known for. */
enum topic {
	/* they pass: RFC 3875 section 4.1, the host itself answers for these */
	META = 1,
	/* they pass, by the custom of web servers */
	CUSTOM = 2,
	/*
	 * Never from a request, not even by pass_params: a variable that makes
	 * the dynamic loader or the C library, a shell or an interpreter run or
	 * read something else, what says where a home is, and what the host
	 * itself sets to say which file runs.
	 */
	LOADER = 4,
	SHELL = 8,
	INTERPRETER = 16,
	HOST = 32
};
#define PASSES (META | CUSTOM)
#define REFUSED (LOADER | SHELL | INTERPRETER | HOST)

struct rule {
	const char *text;
	uint8_t length;
	bool is_prefix;
	uint8_t topic;
};

#define NAME(text, topic) { text, sizeof(text) - 1, false, topic }
#define BEGIN(text, topic) { text, sizeof(text) - 1, true, topic }

/* Every param of every request comes by here: in the order of their first
 * letters, so that only those of one are looked at. */
static const struct rule rules[] = {
	BEGIN("AUTH_", CUSTOM), NAME("AUTH_TYPE", META),
	BEGIN("BASH", SHELL), BEGIN("BUNDLE_", INTERPRETER),
	NAME("CDPATH", SHELL), NAME("CONTENT_LENGTH", META),
	NAME("CONTENT_TYPE", META),
	NAME("DOCUMENT_ROOT", CUSTOM), NAME("DOCUMENT_URI", CUSTOM),
	NAME("ENV", SHELL),
	BEGIN("FCGI_", HOST),
	NAME("GATEWAY_INTERFACE", META), NAME("GCONV_PATH", LOADER),
	BEGIN("GEM_", INTERPRETER), NAME("GETCONF_DIR", LOADER),
	BEGIN("GLIBC_", LOADER), NAME("GODEBUG", INTERPRETER),
	NAME("GOTRACEBACK", INTERPRETER),
	BEGIN("HTTP_", CUSTOM), NAME("HTTPS", CUSTOM), NAME("HOME", SHELL),
	NAME("HOSTALIASES", LOADER),
	NAME("IFS", SHELL),
	NAME("JAVA_TOOL_OPTIONS", INTERPRETER),
	NAME("JDK_JAVA_OPTIONS", INTERPRETER),
	BEGIN("LD_", LOADER), BEGIN("LISTEN_", HOST),
	NAME("LOCALDOMAIN", LOADER), NAME("LOCPATH", LOADER),
	NAME("LOGNAME", SHELL), BEGIN("LUA_", INTERPRETER),
	BEGIN("MALLOC_", LOADER),
	NAME("NLSPATH", LOADER), BEGIN("NODE_", INTERPRETER),
	NAME("NOTIFY_SOCKET", HOST),
	NAME("OLDPWD", SHELL), BEGIN("ORIG_", HOST),
	NAME("PATH", SHELL), NAME("PATH_INFO", META),
	NAME("PATH_TRANSLATED", META), BEGIN("PERL5", INTERPRETER),
	NAME("PERLLIB", INTERPRETER), BEGIN("PERL_", INTERPRETER),
	NAME("PHPRC", INTERPRETER), NAME("PHP_ADMIN_VALUE", INTERPRETER),
	BEGIN("PHP_FCGI_", INTERPRETER),
	NAME("PHP_INI_SCAN_DIR", INTERPRETER), NAME("PHP_VALUE", INTERPRETER),
	NAME("PS4", SHELL), NAME("PWD", SHELL), BEGIN("PYTHON", INTERPRETER),
	NAME("QUERY_STRING", META),
	BEGIN("REDIRECT_", CUSTOM), NAME("REMOTE_ADDR", META),
	NAME("REMOTE_HOST", META), NAME("REMOTE_IDENT", META),
	NAME("REMOTE_PORT", CUSTOM), NAME("REMOTE_USER", META),
	NAME("REQUEST_ID", CUSTOM), NAME("REQUEST_METHOD", META),
	NAME("REQUEST_SCHEME", CUSTOM), NAME("REQUEST_URI", CUSTOM),
	BEGIN("RESOLV_", LOADER), NAME("RES_OPTIONS", LOADER),
	BEGIN("RUBY", INTERPRETER),
	NAME("SCRIPT_FILENAME", HOST), NAME("SCRIPT_NAME", META),
	NAME("SERVER_ADDR", CUSTOM), NAME("SERVER_NAME", META),
	NAME("SERVER_PORT", META), NAME("SERVER_PROTOCOL", META),
	NAME("SERVER_SOFTWARE", META), NAME("SHELL", SHELL),
	NAME("SHELLOPTS", SHELL), BEGIN("SSL_", CUSTOM),
	NAME("TMPDIR", SHELL), NAME("TZDIR", SHELL),
	NAME("USER", SHELL),
	NAME("_JAVA_OPTIONS", INTERPRETER),
};

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

/* The first rule of the letter, or where it would stand. */
static const struct rule *
rules_of(char letter)
{
	size_t low = 0, high = COUNT(rules);

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (rules[middle].text[0] < letter)
			low = middle + 1;
		else
			high = middle;
	}
	return rules + low;
}

/* All that the name is known for. */
static unsigned
topics_of(const char *name, size_t length)
{
	const struct rule *rule = rules_of(name[0]);
	unsigned topics = 0;

	for (; rule < rules + COUNT(rules) && rule->text[0] == name[0]; rule++)
		/* names of one length often begin alike */
		if (length >= rule->length &&
		    name[rule->length - 1] == rule->text[rule->length - 1] &&
		    (rule->is_prefix || length == rule->length) &&
		    memcmp(name, rule->text, rule->length) == 0)
			topics |= rule->topic;
	return topics;
}

/* A trailing * makes a prefix. */
static bool
pattern_matches(const char *pattern, size_t length, const char *name)
{
	if (length > 0 && pattern[length - 1] == '*')
		return strncmp(name, pattern, length - 1) == 0;
	return strncmp(name, pattern, length) == 0 && name[length] == '\0';
}

static bool
in_words(const char *words, const char *name)
{
	static const char blanks[] = " \t";

	while (words != NULL && *words != '\0') {
		size_t length = strcspn(words, blanks);

		if (length > 0 && pattern_matches(words, length, name))
			return true;
		words += length;
		words += strspn(words, blanks);
	}
	return false;
}

static bool
is_upper_or_line(char c)
{
	return (c >= 'A' && c <= 'Z') || c == '_';
}

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* What a shell takes as the name of a variable; bash's exported functions
 * (BASH_FUNC_x%%) are none.  Its length, or 0. */
static size_t
variable_length(const char *name)
{
	static const bool is_part[UCHAR_MAX + 1] = {
		['A' ... 'Z'] = true, ['_'] = true, ['0' ... '9'] = true,
		['a' ... 'z'] = true,
	};
	size_t n = 0;

	if (is_digit(*name))
		return 0;
	while (is_part[(unsigned char)name[n]])
		n++;
	return name[n] == '\0' ? n : 0;
}

bool
cgi_env_allowed(const char *name, const char *pass_params)
{
	static const char proxy[] = "HTTP_PROXY";
	size_t length = variable_length(name);
	unsigned topics;

	if (length == 0)
		return false;
	/* httpoxy: a header "Proxy" must not become a proxy's address, in
	 * whatever case a library looks for it. */
	if (length == sizeof(proxy) - 1 && strcasecmp(name, proxy) == 0)
		return false;
	topics = topics_of(name, length);
	if ((topics & REFUSED) != 0)
		return false;
	return (topics & PASSES) != 0 || in_words(pass_params, name);
}

bool
cgi_env_name_ok(const char *name)
{
	static const char words[] =
	    "LD_* GLIBC_* FCGI_* SCRIPT_FILENAME REQUEST_ID";
	size_t n = 0;

	if (is_digit(*name))
		return false;
	while (is_upper_or_line(name[n]) || is_digit(name[n]))
		n++;
	return n > 0 && name[n] == '\0' && !in_words(words, name) &&
	    (topics_of(name, n) & META) == 0;
}
