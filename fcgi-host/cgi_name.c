#include "fcgi-host/cgi_name.h"

#include <string.h>
#include <strings.h>

/*
 * Names are listed with a trailing * for a prefix.  What stands in none of
 * these lists does not pass.
 */

/* RFC 3875 section 4.1: the host itself answers for these. */
static const char *const meta_names[] = {
	"AUTH_TYPE", "CONTENT_LENGTH", "CONTENT_TYPE", "GATEWAY_INTERFACE",
	"PATH_INFO", "PATH_TRANSLATED", "QUERY_STRING", "REMOTE_ADDR",
	"REMOTE_HOST", "REMOTE_IDENT", "REMOTE_USER", "REQUEST_METHOD",
	"SCRIPT_NAME", "SERVER_NAME", "SERVER_PORT", "SERVER_PROTOCOL",
	"SERVER_SOFTWARE",
};

/* By the custom of web servers. */
static const char *const custom_names[] = {
	"HTTP_*", "REQUEST_URI", "DOCUMENT_URI", "DOCUMENT_ROOT", "HTTPS",
	"REQUEST_SCHEME", "REMOTE_PORT", "SERVER_ADDR", "REQUEST_ID",
	"REDIRECT_*", "SSL_*", "AUTH_*",
};

/*
 * Never from a request, not even by pass_params: a variable that makes a
 * loader, a shell or an interpreter run or read something else, one that the
 * host itself sets to say which file runs, and what says where a home is.
 */
static const char *const refused_names[] = {
	/* the dynamic loader and the C library */
	"LD_*", "GLIBC_*", "MALLOC_*", "GCONV_PATH", "LOCPATH", "NLSPATH",
	"HOSTALIASES", "LOCALDOMAIN", "RES_OPTIONS", "RESOLV_*", "GETCONF_DIR",
	/* shells and the process's surroundings */
	"PATH", "IFS", "ENV", "BASH*", "SHELLOPTS", "CDPATH", "PS4", "SHELL",
	"HOME", "USER", "LOGNAME", "PWD", "OLDPWD", "TMPDIR", "TZDIR",
	/* interpreters */
	"PHP_VALUE", "PHP_ADMIN_VALUE", "PHPRC", "PHP_INI_SCAN_DIR",
	"PHP_FCGI_*", "PYTHON*", "PERL5*", "PERLLIB", "PERL_*", "NODE_*",
	"RUBY*", "GEM_*", "BUNDLE_*", "LUA_*", "JAVA_TOOL_OPTIONS",
	"_JAVA_OPTIONS", "JDK_JAVA_OPTIONS", "GODEBUG", "GOTRACEBACK",
	/* the host's own words */
	"FCGI_*", "SCRIPT_FILENAME", "ORIG_*", "LISTEN_*", "NOTIFY_SOCKET",
};

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

static bool
pattern_matches(const char *pattern, size_t length, const char *name)
{
	if (length > 0 && pattern[length - 1] == '*')
		return strncmp(name, pattern, length - 1) == 0;
	return strncmp(name, pattern, length) == 0 && name[length] == '\0';
}

static bool
in_table(const char *const *table, size_t count, const char *name)
{
	for (size_t i = 0; i < count; i++)
		/* no pattern is a mere *, so that most end at their first
		 * letter: every param of every request comes by here */
		if (table[i][0] == name[0] &&
		    pattern_matches(table[i], strlen(table[i]), name))
			return true;
	return false;
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
is_variable_name(const char *name)
{
	if (*name == '\0' || is_digit(*name))
		return false;
	for (; *name != '\0'; name++)
		if (!is_upper_or_line(*name) && !is_digit(*name) &&
		    !(*name >= 'a' && *name <= 'z'))
			return false;
	return true;
}

bool
cgi_env_allowed(const char *name, const char *pass_params)
{
	if (!is_variable_name(name))
		return false;
	/* httpoxy: a header "Proxy" must not become a proxy's address, in
	 * whatever case a library looks for it. */
	if (strcasecmp(name, "HTTP_PROXY") == 0)
		return false;
	if (in_table(refused_names, COUNT(refused_names), name))
		return false;
	return in_table(meta_names, COUNT(meta_names), name) ||
	    in_table(custom_names, COUNT(custom_names), name) ||
	    in_words(pass_params, name);
}

bool
cgi_env_name_ok(const char *name)
{
	static const char *const loader_names[] = {
		"LD_*", "GLIBC_*", "FCGI_*", "SCRIPT_FILENAME", "REQUEST_ID",
	};

	if (*name == '\0' || is_digit(*name))
		return false;
	for (const char *p = name; *p != '\0'; p++)
		if (!is_upper_or_line(*p) && !is_digit(*p))
			return false;
	return !in_table(loader_names, COUNT(loader_names), name) &&
	    !in_table(meta_names, COUNT(meta_names), name);
}
