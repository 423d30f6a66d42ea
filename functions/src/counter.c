/*
 * A FastCGI program with libfcgi: one process serves many requests, so its
 * count grows while the instance is warm.
 */
#include <fcgiapp.h>
#include <stdlib.h>

int
main(void)
{
	FCGX_Request request;
	unsigned long count = 0;

	if (FCGX_Init() != 0 || FCGX_InitRequest(&request, 0, 0) != 0)
		return EXIT_FAILURE;
	while (FCGX_Accept_r(&request) == 0) {
		const char *method =
		    FCGX_GetParam("REQUEST_METHOD", request.envp);

		FCGX_FPrintF(request.out,
		    "Content-Type: text/plain\r\n\r\n"
		    "%s number %lu of this instance\n",
		    method != NULL ? method : "request", ++count);
		FCGX_Finish_r(&request);
	}
	return EXIT_SUCCESS;
}
