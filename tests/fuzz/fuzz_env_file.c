/*
 * The text of an env_file: it is refused in a line that it has, or each variable
 * lies in the text, has a name that a function may be given, none twice, and a
 * value without a control byte but tab and new line; what it holds behind its end
 * is not looked at.
 */
#include <errno.h>

#include "sandbox/env_file.h"
#include "tests/fuzz/fuzz.h"

static void
check_variables(const struct env_file *file, const char *text, size_t n)
{
	CLAIM(file->count <= ENV_FILE_COUNT_MAX && file->why == NULL);
	for (size_t i = 0; i < file->count; i++) {
		const char *variable = file->variables[i];
		const char *equals = strchr(variable, '=');
		size_t length = strlen(variable), name;

		CLAIM(variable >= text && variable + length <= text + n);
		CLAIM(equals != NULL);
		name = (size_t)(equals - variable);
		CLAIM(env_file_name_ok(variable, name));
		for (const char *at = equals; *at != '\0'; at++)
			CLAIM((unsigned char)*at >= 0x20 || *at == '\t' ||
			    *at == '\n');
		for (size_t j = 0; j < i; j++)
			CLAIM(strncmp(file->variables[j], variable,
			    name + 1) != 0);
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static struct env_file file;
	char *text;
	int error;

	if (n > ENV_FILE_BYTES_MAX)
		return 0;
	text = malloc(n + 1);
	CLAIM(text != NULL);
	if (n > 0)
		memcpy(text, data, n);
	text[n] = 'X';
	error = env_file_parse(&file, text, n);
	if (error == 0) {
		check_variables(&file, text, n);
	} else {
		unsigned lines = 1;

		for (size_t i = 0; i < n; i++)
			lines += data[i] == '\n';
		CLAIM(error == -EBADMSG && file.count == 0);
		CLAIM(file.why != NULL && file.line >= 1 && file.line <= lines);
	}
	free(text);
	return 0;
}
