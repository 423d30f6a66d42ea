/* The chain over the lines of the accounting log, and the file of its key.  The
 * figures are those of another implementation of BLAKE2b (Python's hashlib). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fcgi-host/chain_file.h"
#include "fcgi-host/ledger.h"
#include "fcgi-host/log.h"
#include "fcgi-host/sock.h"
#include "tests/unit/folder.h"

#define KEY_TEXT "000102030405060708090a0b0c0d0e0f" \
    "101112131415161718191a1b1c1d1e1f"
#define NEXT_TEXT "8f6aa69ecb33603ac1b6c80530caf761" \
    "a47ed17c9d7bcc797a4a161b9fea8cb0"
#define MAC_1 "01097ed66b833ebc3fd67d9d95a193db" \
    "6b06acab6ba0554d670c7b99f95300c8"
#define MAC_2 "c68f7449ed432278f90acb17397be3e2" \
    "ee17c6133cb9036ba39f7e5363a2c407"

static uint8_t key[CHAIN_KEY_SIZE];
static char problem[1024];

static int
set_up(void **state)
{
	(void)state;
	log_init("test", LOG_ERROR);
	problem[0] = '\0';
	assert_true(chain_key_parse(KEY_TEXT, 64, key));
	return folder_make();
}

static int
tear_down(void **state)
{
	(void)state;
	return folder_remove();
}

/* ---- lines ---- */

static void
a_mac_is_blake2b_by_the_key_over_the_mac_before_and_the_line(void **state)
{
	struct chain *chain = chain_new(key);
	char text[CHAIN_MAC_TEXT], id[CHAIN_ID_TEXT];
	struct buf batch = { 0 };

	(void)state;
	assert_non_null(buf_reserve(&batch, 4096));
	buf_add_str(&batch, "{\"v\":1,\"seq\":1}\n");
	chain_seal(chain, &batch, 0);
	chain_mac_text(chain_head(chain), text);
	assert_string_equal(text, MAC_1);
	buf_add_str(&batch, "{\"v\":1,\"seq\":2}\n");
	chain_seal(chain, &batch, 15 + CHAIN_FIELD_SIZE + 1);
	buf_add(&batch, "", 1);
	assert_string_equal((char *)buf_head(&batch),
	    "{\"v\":1,\"seq\":1,\"mac\":\"" MAC_1 "\"}\n"
	    "{\"v\":1,\"seq\":2,\"mac\":\"" MAC_2 "\"}\n");
	chain_id(chain, id);
	assert_string_equal(id, "da4a9b4ba6d1f83f6531ccc8b40acc08");
	buf_free(&batch);
	chain_free(chain);
}

static void
a_key_leads_to_the_next_one(void **state)
{
	char text[2 * CHAIN_KEY_SIZE + 1];

	(void)state;
	chain_key_next(key, key);
	chain_key_text(key, text);
	assert_string_equal(text, NEXT_TEXT);
}

static void
only_sixty_four_small_hex_digits_are_a_key(void **state)
{
	static const char *const wrong[] = { "", "\n", KEY_TEXT "\n\n",
		KEY_TEXT " ", " " KEY_TEXT, KEY_TEXT "00",
		"A00102030405060708090a0b0c0d0e0f"
		"101112131415161718191a1b1c1d1e1f",
		"00:02030405060708090a0b0c0d0e0f"
		"101112131415161718191a1b1c1d1e1f0" };

	(void)state;
	assert_true(chain_key_parse(KEY_TEXT "\n", 65, key));
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		assert_false(chain_key_parse(wrong[i], strlen(wrong[i]), key));
	assert_false(chain_key_parse(KEY_TEXT, 63, key));
}

/* Every byte of the field, and every shorter piece. */
static void
a_mac_is_read_only_where_it_stands_last_and_whole(void **state)
{
	char line[] = "{\"v\":1,\"seq\":1,\"mac\":\"" MAC_1 "\"}";
	const size_t n = strlen(line);
	struct chain_mac mac;
	size_t covered = 0;

	(void)state;
	assert_true(chain_line_read(line, n, &mac, &covered));
	assert_int_equal(covered, strlen("{\"v\":1,\"seq\":1"));
	for (size_t i = 0; i < n; i++)
		assert_false(chain_line_read(line, i, &mac, &covered));
	for (size_t i = strlen("{\"v\":1,\"seq\":1"); i < n; i++) {
		line[i] ^= 0x40;
		assert_false(chain_line_read(line, n, &mac, &covered));
		line[i] ^= 0x40;
	}
}

/* ---- the ledger ---- */

static struct inflight *inflight;
static struct ledger *ledger;

static void
begin(const char *name, bool is_again)
{
	ledger = ledger_new(inflight, 0xabc);
	assert_non_null(ledger);
	assert_int_equal(ledger_set_chain(ledger, key), 0);
	assert_int_equal(ledger_switch(ledger, folder_append(name), is_again),
	    0);
	ledger_begin(ledger, 0);
}

static void
new_table(void)
{
	int table = memfd_create("table", MFD_CLOEXEC);

	assert_int_equal(ftruncate(table, 100000), 0);
	inflight = inflight_open(table);
	assert_non_null(inflight);
	close(table);
}

static void
write_host(const char *event)
{
	struct record_host record = { .event = event };

	assert_int_equal(ledger_host(ledger, &record), 0);
	ledger_flush(ledger);
}

static void
end(void)
{
	ledger_free(ledger);
	inflight_close(inflight);
}

/* Follows *mac through a file, by one key; how many lines. */
static int
follow(const char *name, struct chain_mac *mac)
{
	FILE *file = fopen(folder_path(name), "r");
	struct chain *chain = chain_new(key);
	char line[RECORD_LINE_MAX + 2];
	int count = 0;

	assert_non_null(file);
	for (; fgets(line, sizeof(line), file) != NULL; count++) {
		struct chain_mac written, made;
		size_t covered;

		assert_true(chain_line_read(line, strlen(line) - 1, &written,
		    &covered));
		chain_mac(chain, mac, line, covered, &made);
		assert_true(chain_mac_same(&made, &written));
		*mac = made;
	}
	chain_free(chain);
	fclose(file);
	return count;
}

static bool
holds(const char *name, const char *text)
{
	char content[16384] = "";
	int fd = folder_append(name);

	assert_true(pread(fd, content, sizeof(content) - 1, 0) >= 0);
	close(fd);
	return strstr(content, text) != NULL;
}

static void
the_first_host_record_of_a_key_names_it_and_the_mac_before(void **state)
{
	struct chain_mac mac = { { 0 } };

	(void)state;
	new_table();
	begin("log", false);
	write_host("start");
	assert_true(holds("log", ",\"chain\":\"da4a9b4ba6d1f83f6531ccc8b40acc08"
	    "\",\"prev\":\"00000000000000000000000000000000"
	    "00000000000000000000000000000000\",\"mac\":\""));
	write_host("reload");
	assert_int_equal(follow("log", &mac), 2);
	assert_true(chain_mac_same(&mac, ledger_head(ledger)));
	end();
}

static void
the_chain_goes_on_in_the_next_file(void **state)
{
	struct chain_mac mac = { { 0 } };

	(void)state;
	new_table();
	begin("log", false);
	write_host("start");
	assert_int_equal(ledger_switch(ledger, folder_append("next"), false),
	    0);
	write_host("reload");
	write_host("reload");
	assert_int_equal(follow("log", &mac), 1);
	assert_int_equal(follow("next", &mac), 2);
	end();
}

/* A gateway died between the write and the note of it, with each number of the
 * batch's lines in the log. */
static void
a_successor_goes_on_behind_what_is_in_the_log(void **state)
{
	(void)state;
	for (uint64_t noted = 0; noted <= 3; noted++) {
		struct chain_mac mac = { { 0 } };

		new_table();
		begin("log", false);
		for (int i = 0; i < 3; i++)
			write_host("reload");
		inflight_set_batch(inflight, 5, 0, ledger_head(ledger));
		inflight_set_seq(inflight, noted);
		ledger_free(ledger);
		begin("log", true);
		write_host("restart");
		assert_int_equal(ledger_seq(ledger), 4);
		assert_int_equal(follow("log", &mac), 4);
		end();
		unlink(folder_path("log"));
	}
}

/* While no host ran, and the table tells of a line that is gone. */
static void
what_is_cut_off_while_nobody_writes_leaves_a_break(void **state)
{
	struct chain_mac all = { { 0 } }, first = { { 0 } };
	struct stat st;

	(void)state;
	new_table();
	begin("log", false);
	write_host("start");
	assert_int_equal(stat(folder_path("log"), &st), 0);
	assert_int_equal(follow("log", &first), 1);
	write_host("reload");
	all = *ledger_head(ledger);
	ledger_free(ledger);
	assert_int_equal(truncate(folder_path("log"), st.st_size), 0);
	ledger = ledger_new(inflight, 0xdef); /* the next run */
	assert_int_equal(ledger_set_chain(ledger, key), 0);
	assert_int_equal(ledger_switch(ledger, folder_append("log"), true),
	    0);
	assert_true(chain_mac_same(ledger_head(ledger), &all));
	assert_false(chain_mac_same(ledger_head(ledger), &first));
	end();
}

/* A reboot, with `run` on a tmpfs. */
static void
without_a_table_the_last_line_is_believed(void **state)
{
	struct chain_mac mac = { { 0 } };

	(void)state;
	new_table();
	begin("log", false);
	write_host("start");
	end();
	new_table();
	begin("log", false);
	write_host("start");
	assert_int_equal(follow("log", &mac), 2);
	end();
}

/* ---- the file ---- */

static void
put_file(const char *name, const char *text, mode_t mode)
{
	int fd = open(folder_path(name), O_CREAT | O_EXCL | O_WRONLY, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	assert_int_equal(fchmod(fd, mode), 0);
	close(fd);
}

static void
expect_key(int key_fd, const char *text)
{
	char found[2 * CHAIN_KEY_SIZE + 1];

	if (key_fd < 0)
		print_message("%s\n", problem);
	assert_true(key_fd >= 0);
	assert_int_equal(chain_file_key(key_fd, key), 0);
	chain_key_text(key, found);
	assert_string_equal(found, text);
}

static void
a_rotation_replaces_the_key_and_overwrites_the_old_one(void **state)
{
	char old[80] = "", now[80] = "";
	int before, first, second;
	struct stat st;

	(void)state;
	put_file("key", KEY_TEXT "\n", 0600);
	before = open(folder_path("key"), O_RDONLY);
	first = chain_file_open(folder_path("key"), problem, sizeof(problem));
	expect_key(first, KEY_TEXT);
	second = chain_file_next(folder_path("key"), first, problem,
	    sizeof(problem));
	expect_key(second, NEXT_TEXT);
	assert_int_equal(pread(before, old, sizeof(old), 0), 65);
	for (int i = 0; i < 65; i++)
		assert_int_equal(old[i], 0);
	close(before);
	before = open(folder_path("key"), O_RDONLY);
	assert_int_equal(pread(before, now, sizeof(now), 0), 65);
	assert_string_equal(now, NEXT_TEXT "\n");
	assert_int_equal(fstat(before, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(access(folder_path("key.new"), F_OK), -1);
	close(before);
	close(first);
	close(second);
}

static void
a_key_that_somebody_put_there_is_the_next(void **state)
{
	int first, second;

	(void)state;
	put_file("key", KEY_TEXT "\n", 0600);
	first = chain_file_open(folder_path("key"), problem, sizeof(problem));
	unlink(folder_path("key"));
	put_file("key", MAC_1, 0600);
	second = chain_file_next(folder_path("key"), first, problem,
	    sizeof(problem));
	expect_key(second, MAC_1);
	close(first);
	close(second);
}

static void
refused(const char *words)
{
	int fd = chain_file_open(folder_path("key"), problem, sizeof(problem));

	assert_true(fd < 0);
	if (strstr(problem, words) == NULL)
		fail_msg("%s", problem);
	assert_non_null(strstr(problem, folder_name()));
	unlink(folder_path("key"));
}

static void
a_key_that_others_can_read_or_name_is_refused(void **state)
{
	(void)state;
	refused("make a key: (umask 077; openssl rand -hex 32 > FILE)");
	put_file("key", KEY_TEXT, 0640);
	refused("can be read by others");
	put_file("key", KEY_TEXT "0", 0600);
	refused("holds no key, that is 64 digits");
	put_file("other", KEY_TEXT, 0600);
	assert_int_equal(symlink("other", folder_path("key")), 0);
	refused("cannot be opened");
	put_file("key", KEY_TEXT, 0600);
	unlink(folder_path("other"));
	{
		char first[128];

		strcpy(first, folder_path("key"));
		assert_int_equal(link(first, folder_path("other")), 0);
	}
	refused("is no regular file of one name");
	unlink(folder_path("other"));
	assert_int_equal(mkfifo(folder_path("key"), 0600), 0);
	refused("is no regular file of one name");
	put_file("key", KEY_TEXT, 0600);
	assert_int_equal(chmod(folder_name(), 0777), 0);
	refused("stands in a directory that others");
	assert_int_equal(chmod(folder_name(), 0700), 0);
}

int
main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(a_mac_is_blake2b_by_the_key_over_the_mac_before_and_the_line),
		TEST(a_key_leads_to_the_next_one),
		TEST(only_sixty_four_small_hex_digits_are_a_key),
		TEST(a_mac_is_read_only_where_it_stands_last_and_whole),
		TEST(the_first_host_record_of_a_key_names_it_and_the_mac_before),
		TEST(the_chain_goes_on_in_the_next_file),
		TEST(a_successor_goes_on_behind_what_is_in_the_log),
		TEST(what_is_cut_off_while_nobody_writes_leaves_a_break),
		TEST(without_a_table_the_last_line_is_believed),
		TEST(a_rotation_replaces_the_key_and_overwrites_the_old_one),
		TEST(a_key_that_somebody_put_there_is_the_next),
		TEST(a_key_that_others_can_read_or_name_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
