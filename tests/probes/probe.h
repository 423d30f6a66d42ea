/*
 * A hostile function: each probe attempts what the sandbox must not allow and
 * says, per attempt, "denied: …" or "HOLE: …".  The program is static, so that
 * it runs in any sandbox, as a CGI function (the number is the query string),
 * and outside, where the same acts must succeed to show that the probe works.
 */
#ifndef TESTS_PROBES_PROBE_H
#define TESTS_PROBES_PROBE_H

/* A call's result: negative is denied (errno says why).  Returns 1 for a hole. */
int attempt(const char *what, long result);
/* The same where not the result but a fact decides. */
int judge(int is_hole, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
/* Runs a deed in a child; a hole if the child exits with 0.  Shows a signal. */
int attempt_in_child(const char *what, void (*deed)(void));
/* What this kernel does not have at all cannot be probed: ends with 77. */
_Noreturn void absent(const char *what);
/* A value from the environment, or a fallback. */
const char *setting(const char *name, const char *fallback);

/* Each returns how many holes it found. */
int probe_shadow(void);
int probe_walk(void);
int probe_own_folder(void);
int probe_exec_tmp(void);
int probe_exec_memfd(void);
int probe_mknod(void);
int probe_fill_tmp(void);
int probe_flood_inodes(void);
int probe_chroot(void);
int probe_mount(void);
int probe_unshare(void);
int probe_clone3(void);
int probe_setns(void);
int probe_pivot(void);
int probe_int80(void);
int probe_x32(void);
int probe_ptrace(void);
int probe_process_vm(void);
int probe_pidfd_getfd(void);
int probe_kill_all(void);
int probe_list_proc(void);
int probe_proc_sys(void);
int probe_self_exe(void);
int probe_descriptors(void);
int probe_links_out(void);
int probe_tiocsti(void);
int probe_families(void);
int probe_connect(void);
int probe_abstract(void);
int probe_young_parts(void);
int probe_keys(void);
int probe_splice(void);
int probe_fork_bomb(void);
int probe_daemon(void);
int probe_leftovers(void);
int probe_init(void);
int probe_init_limits(void);
int probe_init_socket(void);
int probe_pipe_size(void);
int probe_setuid(void);
int probe_socket(void);
int probe_memory_bomb(void);
int probe_core(void);
int probe_hostname(void);
int probe_cgroup_place(void);
int probe_shared_segment(void);
int probe_handle(void);
int probe_helpers(void);
int probe_release_agent(void);
int probe_memory_file(void);
int probe_self_settings(void);
int probe_terminals(void);
int probe_rare_calls(void);
int probe_own_filter(void);
int probe_prctl(void);
int probe_priority(void);
int probe_raise_limits(void);
int probe_in_flight(void);
int probe_timers(void);
int probe_high_bits(void);
int probe_page_zero(void);
int probe_file_owner(void);
int probe_attributes(void);
int probe_posix_queue(void);
int probe_socket_options(void);
int probe_data_socket(void);
int probe_linger(void);
int probe_huge_pages(void);
int probe_page_cache(void);
int probe_status(void);

#endif
