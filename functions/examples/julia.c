/*
 * A picture of a Julia set, computed for each request and sent row by row: a
 * function in C.
 *
 *     curl -o julia.bmp 'http://127.0.0.1:8080/fn/julia?size=300&re=-0.8&im=0.156'
 */
#include <fcgi-host/function.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>

#define SIZE_MIN 16
#define SIZE_MAX_PIXELS 1000
#define STEPS_MAX 255
#define HEAD_BYTES 54

/* A number of the URL within its bounds, or NAN. */
static double
number(struct fcgi_request *request, const char *name, double otherwise,
    double least, double most)
{
	const char *text = fcgi_query(request, name);
	char *end;
	double value;

	if (text == NULL)
		return otherwise;
	value = strtod(text, &end);
	/* what is no number is in no bounds either */
	return end != text && *end == '\0' && value >= least && value <= most ?
	    value : NAN;
}

static void
put(unsigned char *to, uint32_t value)
{
	for (int i = 0; i < 4; i++)
		to[i] = (unsigned char)(value >> 8 * i);
}

/* That of a BMP file of 24 bits a pixel. */
static void
make_head(unsigned char *head, uint32_t size, uint32_t row_bytes)
{
	head[0] = 'B';
	head[1] = 'M';
	put(head + 2, HEAD_BYTES + size * row_bytes);
	put(head + 10, HEAD_BYTES);
	put(head + 14, 40);
	put(head + 18, size);
	put(head + 22, size);
	head[26] = 1;
	head[28] = 24;
}

/* How many steps a point takes to leave the circle. */
static int
steps(double x, double y, double re, double im)
{
	int n = 0;

	while (n < STEPS_MAX && x * x + y * y < 4.0) {
		double next = x * x - y * y + re;

		y = 2.0 * x * y + im;
		x = next;
		n++;
	}
	return n;
}

static void
make_row(unsigned char *row, int at, int size, double re, double im)
{
	double y = 3.0 * at / size - 1.5;

	for (int i = 0; i < size; i++) {
		int n = steps(3.0 * i / size - 1.5, y, re, im);

		row[3 * i] = (unsigned char)(n < STEPS_MAX ? n * 5 % 256 : 0);
		row[3 * i + 1] = (unsigned char)(n < STEPS_MAX ? n : 0);
		row[3 * i + 2] = (unsigned char)(n < STEPS_MAX ? n / 2 : 0);
	}
}

int
handler(struct fcgi_request *request)
{
	double size = number(request, "size", 300, SIZE_MIN, SIZE_MAX_PIXELS);
	double re = number(request, "re", -0.8, -2, 2);
	double im = number(request, "im", 0.156, -2, 2);
	unsigned char head[HEAD_BYTES] = { 0 }, *row;
	uint32_t row_bytes;

	if (isnan(size) || isnan(re) || isnan(im)) {
		fcgi_status(request, 400);
		return fcgi_printf(request, "size is a number from %d to %d, "
		    "re and im are from -2 to 2\n", SIZE_MIN,
		    SIZE_MAX_PIXELS);
	}
	/* each row is filled up to four bytes */
	row_bytes = ((uint32_t)size * 3 + 3) / 4 * 4;
	row = fcgi_alloc(request, row_bytes);
	if (row == NULL)
		return 1;
	make_head(head, (uint32_t)size, row_bytes);
	fcgi_header(request, "Content-Type", "image/bmp");
	fcgi_write(request, head, sizeof(head));
	for (int i = 0; i < (int)size; i++) {
		make_row(row, i, (int)size, re, im);
		/* a visitor who has left needs no more */
		if (fcgi_write(request, row, row_bytes) < 0)
			return 0;
	}
	return 0;
}
