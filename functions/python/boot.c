#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "functions/python/boot.h"
#include "functions/python/report.h"

#ifndef PYTHON_PROGRAM
#define PYTHON_PROGRAM "/usr/bin/python3"
#endif

static char *
take(const char *name)
{
	const char *value = getenv(name);
	char *copy = value != NULL ? strdup(value) : NULL;

	(void)unsetenv(name);
	return copy;
}

void
boot_orders_take(struct boot_orders *orders)
{
	const char *path = getenv("PYTHONPATH");
	char *spare = take("FCGI_HOST_SPARE");

	orders->is_spare = spare != NULL && strcmp(spare, "1") == 0;
	orders->preload = take("FCGI_HOST_PRELOAD");
	orders->path = path != NULL && path[0] != '\0' ? strdup(path) : NULL;
	free(spare);
}

/* HOME is /tmp, which the function writes: no site-packages there.  PYTHONPATH is
 * the function's, and so for load_function(). */
static PyStatus
configure(PyConfig *config, const char *file)
{
	char *argv[] = { (char *)(uintptr_t)file };
	PyStatus status;

	config->parse_argv = 0;
	config->write_bytecode = 0;
	config->user_site_directory = 0;
	config->safe_path = 1;
	status = PyConfig_SetBytesString(config, &config->program_name,
	    PYTHON_PROGRAM);
	if (!PyStatus_Exception(status))
		status = PyConfig_SetBytesString(config, &config->executable,
		    PYTHON_PROGRAM);
	if (!PyStatus_Exception(status))
		status = PyConfig_SetString(config, &config->pythonpath_env,
		    L"");
	if (!PyStatus_Exception(status))
		status = PyConfig_SetBytesArgv(config, 1, argv);
	return status;
}

static int
start(const char *file)
{
	PyConfig config;
	PyStatus status;

	PyConfig_InitPythonConfig(&config);
	status = configure(&config, file);
	if (!PyStatus_Exception(status))
		status = Py_InitializeFromConfig(&config);
	PyConfig_Clear(&config);
	if (!PyStatus_Exception(status))
		return 0;
	fprintf(stderr, "fcgi-host-python: the interpreter does not start: "
	    "%s\n", status.err_msg != NULL ? status.err_msg :
	    "an exit was asked for");
	return -1;
}

int
boot_start(const char *file)
{
	/* descriptor 1 belongs to print(), os.write() and children: the log */
	if (dup2(STDERR_FILENO, STDOUT_FILENO) < 0) {
		perror("fcgi-host-python: descriptor 2");
		return -1;
	}
	return start(file);
}

int
boot_check(const char *file)
{
	return start(file);
}

void
boot_preload(const char *names)
{
	char *copy = names != NULL ? strdup(names) : NULL;
	char *rest = NULL;

	for (char *name = copy != NULL ? strtok_r(copy, " \t", &rest) : NULL;
	    name != NULL; name = strtok_r(NULL, " \t", &rest)) {
		PyObject *module = PyImport_ImportModule(name);

		if (module == NULL) {
			fprintf(stderr, "fcgi-host-python: the module %s of "
			    "FCGI_HOST_PRELOAD is not there:\n", name);
			report_exception();
		}
		Py_XDECREF(module);
	}
	free(copy);
}
