#include "fcgi-host/scan_hash.h"

#include <errno.h>
#include <sha2.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

static uint64_t
hashed_bytes(uint64_t size, uint64_t budget)
{
	uint64_t most = budget < SCAN_HASH_FILE_MAX ? budget :
	    SCAN_HASH_FILE_MAX;

	if (size <= most)
		return size;
	if (budget >= SCAN_HASH_FILE_MAX)
		return SCAN_HASH_FILE_MAX;
	return size < SCAN_HASH_LITTLE ? size : SCAN_HASH_LITTLE;
}

static int
hash_file(SHA2_CTX *hash, int fd, const struct scan_id *id, uint64_t *budget)
{
	uint64_t todo = hashed_bytes(id->size, *budget), done = 0;
	uint8_t chunk[32768];

	while (done < todo) {
		size_t want = todo - done < sizeof(chunk) ?
		    (size_t)(todo - done) : sizeof(chunk);
		ssize_t n = pread(fd, chunk, want, (off_t)done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		/* Cut meanwhile: the caller sees that the file changed. */
		if (n == 0)
			break;
		SHA256Update(hash, chunk, (size_t)n);
		done += (uint64_t)n;
	}
	*budget -= done < *budget ? done : *budget;
	if (todo < id->size)
		SHA256Update(hash, (const uint8_t *)id, sizeof(*id));
	return 0;
}

int
scan_version(const struct scan_version *files, uint64_t *budget,
    char out[CTL_VERSION_LENGTH + 1])
{
	static const char digits[] = "0123456789abcdef";
	uint8_t digest[SHA256_DIGEST_LENGTH];
	SHA2_CTX hash;
	int err;

	SHA256Init(&hash);
	err = hash_file(&hash, files->main_fd, &files->main, budget);
	if (err == 0 && files->sidecar_fd >= 0)
		err = hash_file(&hash, files->sidecar_fd, &files->sidecar,
		    budget);
	if (err != 0)
		return err;
	if (files->has_times) {
		int64_t times[2] = { files->main.mtime_ns,
			files->sidecar.mtime_ns };

		SHA256Update(&hash, (const uint8_t *)times, sizeof(times));
	}
	/* of secrets nobody here may read a byte */
	if (files->has_env_file)
		SHA256Update(&hash, (const uint8_t *)&files->env_file,
		    sizeof(files->env_file));
	SHA256Final(digest, &hash);
	for (size_t i = 0; i < CTL_VERSION_LENGTH; i++)
		out[i] = digits[digest[i / 2] >> (i % 2 == 0 ? 4 : 0) & 15];
	out[CTL_VERSION_LENGTH] = '\0';
	return 0;
}
