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
	 * read something else, OpenSSL trust somebody else, what says where a
	 * home is, and what the host itself sets to say which file runs.
	 */
	LOADER = 4,
	SHELL = 8,
	INTERPRETER = 16,
	HOST = 32,
	LIBRARY = 64
};
#define PASSES (META | CUSTOM)
#define REFUSED (LOADER | SHELL | INTERPRETER | HOST | LIBRARY)

struct rule {
	const char *text;
	uint8_t length;
	bool is_prefix;
	uint8_t topic;
};

#define NAME(text, topic) { text, sizeof(text) - 1, false, topic }
#define BEGIN(text, topic) { text, sizeof(text) - 1, true, topic }
#define LETTER(letter, ...) \
	[letter - 'A'] = (const struct rule[]){ __VA_ARGS__, { .length = 0 } }

/*
 * Every param of every request comes by here: the rules stand by their first
 * letters, and first what web servers send with each.  Of two that name the
 * same one the first counts.
 */
static const struct rule *const by_letter['_' - 'A' + 1] = {
	LETTER('A', NAME("AUTH_TYPE", META), BEGIN("AUTH_", CUSTOM)),
	LETTER('B', BEGIN("BASH", SHELL), BEGIN("BUNDLE_", INTERPRETER)),
	LETTER('C', NAME("CONTENT_TYPE", META), NAME("CONTENT_LENGTH", META),
	    NAME("CDPATH", SHELL)),
	LETTER('D', NAME("DOCUMENT_ROOT", CUSTOM),
	    NAME("DOCUMENT_URI", CUSTOM)),
	LETTER('E', NAME("ENV", SHELL)),
	LETTER('F', BEGIN("FCGI_", HOST)),
	LETTER('G', NAME("GATEWAY_INTERFACE", META), NAME("GCONV_PATH", LOADER),
	    BEGIN("GEM_", INTERPRETER), NAME("GETCONF_DIR", LOADER),
	    BEGIN("GLIBC_", LOADER), NAME("GODEBUG", INTERPRETER),
	    NAME("GOTRACEBACK", INTERPRETER)),
	LETTER('H', BEGIN("HTTP_", CUSTOM), NAME("HTTPS", CUSTOM),
	    NAME("HOME", SHELL), NAME("HOSTALIASES", LOADER)),
	LETTER('I', NAME("IFS", SHELL)),
	LETTER('J', NAME("JAVA_TOOL_OPTIONS", INTERPRETER),
	    NAME("JDK_JAVA_OPTIONS", INTERPRETER)),
	LETTER('L', BEGIN("LD_", LOADER), BEGIN("LISTEN_", HOST),
	    NAME("LOCALDOMAIN", LOADER), NAME("LOCPATH", LOADER),
	    NAME("LOGNAME", SHELL), BEGIN("LUA_", INTERPRETER)),
	LETTER('M', BEGIN("MALLOC_", LOADER)),
	LETTER('N', NAME("NLSPATH", LOADER), BEGIN("NODE_", INTERPRETER),
	    NAME("NOTIFY_SOCKET", HOST)),
	LETTER('O', NAME("OLDPWD", SHELL), BEGIN("ORIG_", HOST)),
	LETTER('P', NAME("PATH_INFO", META), NAME("PATH", SHELL),
	    NAME("PATH_TRANSLATED", META), BEGIN("PERL5", INTERPRETER),
	    NAME("PERLLIB", INTERPRETER), BEGIN("PERL_", INTERPRETER),
	    NAME("PHPRC", INTERPRETER), NAME("PHP_ADMIN_VALUE", INTERPRETER),
	    BEGIN("PHP_FCGI_", INTERPRETER),
	    NAME("PHP_INI_SCAN_DIR", INTERPRETER),
	    NAME("PHP_VALUE", INTERPRETER), NAME("PS4", SHELL),
	    NAME("PWD", SHELL), BEGIN("PYTHON", INTERPRETER)),
	LETTER('Q', NAME("QUERY_STRING", META)),
	LETTER('R', NAME("REQUEST_METHOD", META), NAME("REQUEST_URI", CUSTOM),
	    NAME("REQUEST_SCHEME", CUSTOM), NAME("REQUEST_ID", CUSTOM),
	    NAME("REMOTE_ADDR", META), NAME("REMOTE_PORT", CUSTOM),
	    NAME("REMOTE_USER", META), BEGIN("REDIRECT_", CUSTOM),
	    NAME("REMOTE_HOST", META), NAME("REMOTE_IDENT", META),
	    BEGIN("RESOLV_", LOADER), NAME("RES_OPTIONS", LOADER),
	    BEGIN("RUBY", INTERPRETER)),
	LETTER('S', NAME("SERVER_NAME", META), NAME("SERVER_PORT", META),
	    NAME("SERVER_PROTOCOL", META), NAME("SERVER_SOFTWARE", META),
	    NAME("SERVER_ADDR", CUSTOM), NAME("SCRIPT_NAME", META),
	    NAME("SCRIPT_FILENAME", HOST), NAME("SHELL", SHELL),
	    NAME("SHELLOPTS", SHELL), NAME("SSL_CERT_FILE", LIBRARY),
	    NAME("SSL_CERT_DIR", LIBRARY), BEGIN("SSL_", CUSTOM)),
	LETTER('T', NAME("TMPDIR", SHELL), NAME("TZDIR", SHELL)),
	LETTER('U', NAME("USER", SHELL)),
	LETTER('_', NAME("_JAVA_OPTIONS", INTERPRETER)),
};

/* The one that names it, or NULL. */
static const struct rule *
rule_of(const char *name, size_t length)
{
	size_t letter = (size_t)(unsigned char)name[0] - 'A';
	const struct rule *rule = letter > '_' - 'A' ? NULL : by_letter[letter];

	for (; rule != NULL && rule->length > 0; rule++)
		/* names of one length often begin alike */
		if (length >= rule->length &&
		    name[rule->length - 1] == rule->text[rule->length - 1] &&
		    (rule->is_prefix || length == rule->length) &&
		    memcmp(name, rule->text, rule->length) == 0)
			return rule;
	return NULL;
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
 * (BASH_FUNC_x%%) are none. */
static bool
is_variable(const char *name)
{
	static const bool is_part[UCHAR_MAX + 1] = {
		['A' ... 'Z'] = true, ['_'] = true, ['0' ... '9'] = true,
		['a' ... 'z'] = true,
	};
	size_t n = 0;

	if (is_digit(*name))
		return false;
	while (is_part[(unsigned char)name[n]])
		n++;
	return n > 0 && name[n] == '\0';
}

/* httpoxy: a header "Proxy" must not become a proxy's address, in whatever
 * case a library looks for it. */
static bool
is_proxy(const char *name, size_t length)
{
	static const char proxy[] = "HTTP_PROXY";

	return length == sizeof(proxy) - 1 && strcasecmp(name, proxy) == 0;
}

bool
cgi_env_allowed(const char *name, const char *pass_params)
{
	size_t length = strlen(name);
	const struct rule *rule = rule_of(name, length);
	unsigned topic = rule == NULL ? 0 : rule->topic;

	/* What a rule has named whole is a variable's name, and not that one. */
	if (rule == NULL || rule->is_prefix)
		if (!is_variable(name) || is_proxy(name, length))
			return false;
	if ((topic & REFUSED) != 0)
		return false;
	return (topic & PASSES) != 0 || in_words(pass_params, name);
}

bool
cgi_env_name_ok(const char *name)
{
	static const char words[] =
	    "LD_* GLIBC_* FCGI_* SCRIPT_FILENAME REQUEST_ID";
	const struct rule *rule;
	size_t n = 0;

	if (is_digit(*name))
		return false;
	while (is_upper_or_line(name[n]) || is_digit(name[n]))
		n++;
	if (n == 0 || name[n] != '\0' || in_words(words, name))
		return false;
	rule = rule_of(name, n);
	return rule == NULL || rule->topic != META;
}
