/* A library in a function's own folder. */
int plug_answer(void);

int
plug_answer(void)
{
	return 42;
}
