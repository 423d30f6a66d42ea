/*
 * Decides about one function: whether it is served and how, or what is wrong
 * with which file and how to mend it.  Reads the sidecar, hashes the contents.
 * Runs in the confined scanner; every file is hostile input.
 */
#ifndef FCGI_HOST_SCAN_JUDGE_H
#define FCGI_HOST_SCAN_JUDGE_H

#include <stdbool.h>

#include "fcgi-host/scan_look.h"

struct scan_subject {
	char name[CTL_NAME_MAX + 1];
	struct scan_file main, sidecar; /* sidecar.item NULL: there is none */
	bool is_folder;
};

/* Judges and adds the entry to look->found. */
void scan_judge(struct scan_look *look, const struct scan_subject *subject);

#endif
