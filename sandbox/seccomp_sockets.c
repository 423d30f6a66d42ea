/*
 * Which sockets a function may make: those of its own processes, and where the
 * administrator gives it a network TCP and UDP.
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <sys/socket.h>

#include "sandbox/seccomp_list.h"

#define PEER_PIDFD 77 /* SO_PEERPIDFD, Linux 6.5 */

#define ALL_BUT(bits) (~(uint64_t)(bits))

/*
 * Options of any socket: those that came before the one that loads a program of
 * the packet filter's into the kernel (26).  After it come its kin, polling and
 * stamps of time; and what gives a handle of the process at the other end, which
 * of a connection to a FastCGI program is the gateway.
 *
 * Of those before not SO_LINGER: it has whoever closes a socket last wait, and
 * that may be who was sent it and never asked for it, as the gateway.
 */
static const struct seccomp_entry socket_options[] = {
	CALL_WHEN("setsockopt", IS(1, SOL_SOCKET),
	    BELOW(2, SO_LINGER)),  /* everyone */
	DENY_WHEN("setsockopt", ENOPROTOOPT, IS(1, SOL_SOCKET),
	    IS(2, SO_LINGER)),
	CALL_WHEN("setsockopt", IS(1, SOL_SOCKET),
	    IS(2, SO_REUSEPORT)),  /* servers of several processes */
	CALL_WHEN("setsockopt", IS(1, SOL_SOCKET),
	    MASKED(2, ALL_BUT(7), 16)), /* credentials, low water, time-outs */
	DENY_WHEN("setsockopt", ENOPROTOOPT, IS(1, SOL_SOCKET),
	    ABOVE(2, 16 + 7)),
	CALL_WHEN("getsockopt", IS(1, SOL_SOCKET),
	    BELOW(2, PEER_PIDFD)), /* event loops */
	DENY_WHEN("getsockopt", ENOPROTOOPT, IS(1, SOL_SOCKET),
	    ABOVE(2, PEER_PIDFD - 1)),
	CALL_IF("getsockopt", 1, IPPROTO_IP), /* looking */
	CALL_IF("getsockopt", 1, IPPROTO_TCP), /* looking */
	CALL_IF("getsockopt", 1, IPPROTO_UDP), /* looking */
	CALL_IF("getsockopt", 1, IPPROTO_IPV6), /* looking */
	DENY_WHEN("getsockopt", EOPNOTSUPP, ABOVE(1, IPPROTO_IPV6)),
};

/*
 * Without a network.  Only AF_UNIX: the FastCGI socket, and sockets between a
 * program's own processes.  The family is tested in all 64 bits: what does not
 * equal is refused as a family that the kernel does not have.
 */
static const struct seccomp_entry unix_sockets[] = {
	CALL_IF("socket", 0, AF_UNIX), /* between its own processes */
	DENY_UNLESS("socket", EAFNOSUPPORT, 0, AF_UNIX),
	/* what is no option of theirs, the kernel says */
	CALL_IF("setsockopt", 1, IPPROTO_IP), /* who takes any for TCP */
	CALL_IF("setsockopt", 1, IPPROTO_TCP), /* the same */
	CALL_IF("setsockopt", 1, IPPROTO_UDP), /* the same */
	CALL_IF("setsockopt", 1, IPPROTO_IPV6), /* the same */
	DENY_WHEN("setsockopt", EOPNOTSUPP, ABOVE(1, IPPROTO_IPV6)),
};

/* Every family from 0 to AF_INET6, and what is above. */
#define NO_FAMILY(family) DENY_WHEN("socket", EAFNOSUPPORT, IS(0, family))
#define TYPE(type) MASKED(1, 0xf, type)
#define MAKE(family, type, protocol) \
	CALL_WHEN("socket", IS(0, family), TYPE(type), IS(2, protocol))
#define NO_PROTOCOL_ABOVE(family, type, protocol) \
	DENY_WHEN("socket", EPROTONOSUPPORT, IS(0, family), TYPE(type), \
	    ABOVE(2, protocol))
#define NO_PING(family) \
	DENY_WHEN("socket", EPROTONOSUPPORT, IS(0, family), TYPE(SOCK_DGRAM), \
	    IS(2, IPPROTO_ICMP))

/*
 * With one: TCP and UDP, by name or as the type's own protocol.  Not what rides
 * on the same families: SCTP, MPTCP, SMC, DCCP, UDP-Lite, L2TP are large and
 * seldom tried parts of the kernel.  A type or protocol that no entry names is
 * ENOSYS, as everywhere.
 */
static const struct seccomp_entry internet_sockets[] = {
	CALL_IF("socket", 0, AF_UNIX), /* as without */
	MAKE(AF_INET, SOCK_STREAM, 0), /* everyone */
	MAKE(AF_INET, SOCK_STREAM, IPPROTO_TCP), /* getaddrinfo's callers */
	MAKE(AF_INET, SOCK_DGRAM, 0), /* resolvers */
	MAKE(AF_INET, SOCK_DGRAM, IPPROTO_UDP), /* getaddrinfo's callers */
	MAKE(AF_INET6, SOCK_STREAM, 0), /* the same by IPv6 */
	MAKE(AF_INET6, SOCK_STREAM, IPPROTO_TCP), /* the same */
	MAKE(AF_INET6, SOCK_DGRAM, 0), /* the same */
	MAKE(AF_INET6, SOCK_DGRAM, IPPROTO_UDP), /* the same */
	/* Packets of one's own making: EPERM, as for every ordinary user. */
	DENY_WHEN("socket", EPERM, IS(0, AF_INET), TYPE(SOCK_RAW)),
	DENY_WHEN("socket", EPERM, IS(0, AF_INET6), TYPE(SOCK_RAW)),
	/* With this answer Go goes on without MPTCP. */
	NO_PROTOCOL_ABOVE(AF_INET, SOCK_STREAM, IPPROTO_TCP),
	NO_PROTOCOL_ABOVE(AF_INET6, SOCK_STREAM, IPPROTO_TCP),
	NO_PROTOCOL_ABOVE(AF_INET, SOCK_DGRAM, IPPROTO_UDP),
	NO_PROTOCOL_ABOVE(AF_INET6, SOCK_DGRAM, IPPROTO_UDP),
	NO_PING(AF_INET),
	NO_PING(AF_INET6),
	NO_FAMILY(0), NO_FAMILY(3), NO_FAMILY(4), NO_FAMILY(5), NO_FAMILY(6),
	NO_FAMILY(7), NO_FAMILY(8), NO_FAMILY(9),
	DENY_WHEN("socket", EAFNOSUPPORT, ABOVE(0, AF_INET6)),
	/*
	 * Options by level, and of TCP those before TCP_ULP: that and what
	 * comes after puts other protocols into a socket (TLS in the kernel),
	 * keys for MD5 and pages of the receiver's.
	 */
	CALL_IF("setsockopt", 1, IPPROTO_IP), /* TTL, type of service */
	CALL_WHEN("setsockopt", IS(1, IPPROTO_UDP), BELOW(2, UDP_ENCAP)), /* CORK */
	/* IPsec and GTP in datagrams: the kernel takes the socket's packets
	 * for itself. */
	DENY_WHEN("setsockopt", ENOPROTOOPT, IS(1, IPPROTO_UDP), IS(2, UDP_ENCAP)),
	CALL_WHEN("setsockopt", IS(1, IPPROTO_UDP), IS(2, UDP_SEGMENT)), /* QUIC */
	CALL_WHEN("setsockopt", IS(1, IPPROTO_UDP), IS(2, UDP_GRO)), /* QUIC */
	CALL_IF("setsockopt", 1, IPPROTO_IPV6), /* V6ONLY */
	CALL_WHEN("setsockopt", IS(1, IPPROTO_TCP),
	    BELOW(2, TCP_ULP)),    /* NODELAY, KEEPIDLE, CORK */
	DENY_WHEN("setsockopt", ENOPROTOOPT, IS(1, IPPROTO_TCP), ABOVE(2, TCP_ULP - 1)),
	DENY_WHEN("setsockopt", ENOPROTOOPT, ABOVE(1, IPPROTO_IPV6)),
};

const struct seccomp_group seccomp_unix_groups[] = {
	SECCOMP_GROUP(unix_sockets),
	SECCOMP_GROUP(socket_options),
	{ NULL, 0 },
};

const struct seccomp_group seccomp_internet_groups[] = {
	SECCOMP_GROUP(internet_sockets),
	SECCOMP_GROUP(socket_options),
	{ NULL, 0 },
};
