#include "fcgi-host/books/chart.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fcgi-host/civil.h"

/* The picture's own units; the page stretches it. */
#define WIDTH 1000
#define HEIGHT 100
#define LABELS 4

int
chart_make(struct chart *chart)
{
	chart->at = calloc(chart->days * chart->series + 1,
	    sizeof(*chart->at));
	return chart->at == NULL ? -ENOMEM : 0;
}

void
chart_free(struct chart *chart)
{
	free(chart->at);
	chart->at = NULL;
}

/* Three bytes of a character which hides or turns what follows:
 * U+200B to U+200F, U+202A to U+202E, U+2060 to U+206F, U+FEFF. */
static bool
is_hidden(const char *text, size_t n)
{
	unsigned char a, b, c;

	if (n < 3)
		return false;
	a = (unsigned char)text[0];
	b = (unsigned char)text[1];
	c = (unsigned char)text[2];
	if (a == 0xef)
		return b == 0xbb && c == 0xbf;
	return a == 0xe2 && ((b == 0x80 && ((c >= 0x8b && c <= 0x8f) ||
	    (c >= 0xaa && c <= 0xae))) || (b == 0x81 && c >= 0xa0 &&
	    c <= 0xaf));
}

int
chart_text(struct buf *out, struct span text)
{
	size_t shown = 0, i;
	int error = 0;

	if (text.n == 0) /* it may stand nowhere */
		return 0;
	for (i = 0; error == 0 && i < text.n; i++) {
		if (!is_hidden(text.at + i, text.n - i))
			continue;
		error = buf_add_html(out, text.at + shown, i - shown);
		if (error == 0)
			error = buf_add_str(out, "\xef\xbf\xbd");
		i += 2;
		shown = i + 1;
	}
	return error != 0 ? error :
	    buf_add_html(out, text.at + shown, text.n - shown);
}

/* What the picture is high: of bars the highest day, of lines the highest
 * value; a little more than that, as 1, 2 or 5 with zeros. */
static rate_sum
top_of(const struct chart *chart)
{
	static const unsigned steps[] = { 1, 2, 3, 4, 5, 6, 8, 10 };
	rate_sum most = 1, ten = 1;
	size_t day, i;

	for (day = 0; day < chart->days; day++) {
		rate_sum sum = 0;

		for (i = 0; i < chart->series; i++) {
			rate_sum value = chart->at[i * chart->days + day];

			sum = chart->is_lines ? (value > sum ? value : sum) :
			    sum + value;
		}
		if (sum > most)
			most = sum;
	}
	while (ten * 10 < most)
		ten *= 10;
	for (i = 0; steps[i] * ten < most; i++)
		;
	return steps[i] * ten;
}

/* value of top, of HEIGHT, in thousandths. */
static double
height_of(rate_sum value, rate_sum top)
{
	return (double)value / (double)top * HEIGHT;
}

static int
put_bars(const struct chart *chart, rate_sum top, struct buf *out)
{
	double width = (double)WIDTH / (double)chart->days;
	char day_text[CIVIL_TEXT_MAX];
	size_t day, i;
	int error = 0;

	for (day = 0; day < chart->days; day++) {
		double y = HEIGHT;

		(void)civil_day_text(chart->first_day + (int32_t)day,
		    day_text);
		for (i = 0; error == 0 && i < chart->series; i++) {
			rate_sum value = chart->at[i * chart->days + day];
			double height = height_of(value, top);

			if (value == 0)
				continue;
			y -= height;
			error = buf_addf(out, "<rect class=\"s%zu\" x=\"%.2f\" "
			    "y=\"%.2f\" width=\"%.2f\" height=\"%.2f\"><title>"
			    "%s ", i, (double)day * width + width * 0.1, y,
			    width * 0.8, height, day_text);
			if (error == 0)
				error = chart_text(out, chart->names[i]);
			if (error == 0)
				error = buf_add_str(out, ": ");
			if (error == 0)
				error = chart->put(out, value, chart->arg);
			if (error == 0)
				error = buf_add_str(out, "</title></rect>\n");
		}
	}
	return error;
}

static int
put_lines(const struct chart *chart, rate_sum top, struct buf *out)
{
	double width = (double)WIDTH / (double)chart->days;
	size_t day, i;
	int error = 0;

	for (i = 0; error == 0 && i < chart->series; i++) {
		error = buf_addf(out, "<polyline class=\"l%zu\" points=\"", i);
		for (day = 0; error == 0 && day < chart->days; day++) {
			double y = HEIGHT - height_of(
			    chart->at[i * chart->days + day], top);

			/* One day alone is a line all over. */
			if (chart->days == 1)
				error = buf_addf(out, "0,%.2f %d,%.2f", y,
				    WIDTH, y);
			else
				error = buf_addf(out, "%.2f,%.2f ",
				    ((double)day + 0.5) * width, y);
		}
		if (error == 0)
			error = buf_add_str(out, "\"/>\n");
	}
	return error;
}

static int
put_legend(const struct chart *chart, struct buf *out)
{
	size_t i;
	int error = buf_add_str(out, "<ul class=\"legend\">");

	for (i = 0; error == 0 && i < chart->series; i++) {
		error = buf_addf(out, "<li><i class=\"k%zu\"></i>", i);
		if (error == 0)
			error = chart_text(out, chart->names[i]);
		if (error == 0)
			error = buf_add_str(out, "</li>");
	}
	return error != 0 ? error : buf_add_str(out, "</ul>\n");
}

static int
put_days(const struct chart *chart, struct buf *out)
{
	size_t labels = chart->days < LABELS ? chart->days : LABELS, i;
	char text[CIVIL_TEXT_MAX];
	int error = buf_add_str(out, "<div class=\"days\">");

	for (i = 0; error == 0 && i < labels; i++) {
		size_t day = labels == 1 ? 0 :
		    i * (chart->days - 1) / (labels - 1);

		error = buf_addf(out, "<span>%s</span>", civil_day_text(
		    chart->first_day + (int32_t)day, text));
	}
	return error != 0 ? error : buf_add_str(out, "</div>\n");
}

int
chart_put(const struct chart *chart, struct buf *out)
{
	rate_sum top = top_of(chart);
	int error = buf_addf(out, "<figure><figcaption>%s</figcaption>\n"
	    "<div class=\"plot\"><span class=\"top\">", chart->title);

	if (error == 0)
		error = chart->put(out, top, chart->arg);
	if (error == 0)
		error = buf_addf(out, "</span>\n<svg viewBox=\"0 0 %d %d\" "
		    "preserveAspectRatio=\"none\" role=\"img\" "
		    "aria-label=\"%s\">\n<path class=\"grid\" d=\"M0 0H%d"
		    "M0 %dH%dM0 %dH%d\"/>\n", WIDTH, HEIGHT, chart->title,
		    WIDTH, HEIGHT / 2, WIDTH, HEIGHT, WIDTH);
	if (error == 0)
		error = chart->is_lines ? put_lines(chart, top, out) :
		    put_bars(chart, top, out);
	if (error == 0)
		error = buf_add_str(out, "</svg></div>\n");
	if (error == 0)
		error = put_days(chart, out);
	if (error == 0)
		error = put_legend(chart, out);
	if (error == 0 && chart->note != NULL)
		error = buf_addf(out, "<p class=\"note\">%s</p>\n",
		    chart->note);
	return error != 0 ? error : buf_add_str(out, "</figure>\n");
}
