/* OpenSSL's DTLS 1.2 on the wire: SSL_write and SSL_read, one datagram a system call.
 *
 *   openssl_wire receive CERTIFICATE KEY          prints its port, then its figures
 *   openssl_wire send PORT COUNT SIZE             prints its figures
 *
 * Figures are: messages, seconds of CPU, seconds of wall clock, in one line.
 */
#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define SUITE "ECDHE-ECDSA-AES128-GCM-SHA256"
#define RECEIVE_BUFFER (1 << 20)
#define ENDS 5

static double seconds(struct timeval time) { return time.tv_sec + time.tv_usec / 1e6; }

static double cpu_now(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

static double wall_now(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec + now.tv_nsec / 1e9;
}

static void fail(const char *what) {
    perror(what);
    ERR_print_errors_fp(stderr);
    exit(1);
}

static int open_socket(void) {
    int size = RECEIVE_BUFFER;
    struct timeval patience = {1, 0};
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    if (fd < 0) fail("socket");
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    return fd;
}

static struct sockaddr_in loopback(int port) {
    struct sockaddr_in address;
    memset(&address, 0, sizeof address);
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
}

static SSL *session(SSL_CTX *context, int fd, struct sockaddr_in *peer) {
    SSL *ssl = SSL_new(context);
    BIO *bio = BIO_new_dgram(fd, BIO_NOCLOSE);
    BIO_ctrl(bio, BIO_CTRL_DGRAM_SET_CONNECTED, 0, peer);
    SSL_set_bio(ssl, bio, bio);
    SSL_set_options(ssl, SSL_OP_NO_QUERY_MTU);
    SSL_set_mtu(ssl, 1472);
    return ssl;
}

static SSL_CTX *context_for(const SSL_METHOD *method) {
    SSL_CTX *context = SSL_CTX_new(method);
    SSL_CTX_set_min_proto_version(context, DTLS1_2_VERSION);
    SSL_CTX_set_max_proto_version(context, DTLS1_2_VERSION);
    if (!SSL_CTX_set_cipher_list(context, SUITE)) fail("cipher");
    return context;
}

static void receive(const char *certificate, const char *key) {
    static char buffer[65536];
    struct sockaddr_in address = loopback(0), peer;
    socklen_t length = sizeof address;
    SSL_CTX *context = context_for(DTLS_server_method());
    int fd = open_socket();
    long messages = 0;
    double cpu = 0, first = 0, last = 0;

    if (SSL_CTX_use_certificate_file(context, certificate, SSL_FILETYPE_PEM) != 1) fail("certificate");
    if (SSL_CTX_use_PrivateKey_file(context, key, SSL_FILETYPE_PEM) != 1) fail("key");
    if (bind(fd, (struct sockaddr *)&address, sizeof address)) fail("bind");
    getsockname(fd, (struct sockaddr *)&address, &length);
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);

    length = sizeof peer;
    while (recvfrom(fd, buffer, 1, MSG_PEEK, (struct sockaddr *)&peer, &length) < 0) continue;
    if (connect(fd, (struct sockaddr *)&peer, sizeof peer)) fail("connect");
    SSL *ssl = session(context, fd, &peer);
    if (SSL_accept(ssl) != 1) fail("accept");
    for (;;) {
        int size = SSL_read(ssl, buffer, sizeof buffer);
        if (size == 3 && !memcmp(buffer, "end", 3)) break;
        if (size <= 0) {
            if (messages) break;
            continue;
        }
        last = wall_now();
        if (!messages++) {
            first = last;
            cpu = cpu_now();
        }
    }
    printf("%ld %f %f\n", messages, cpu_now() - cpu, last - first);
}

static void send_all(int port, long count, int size) {
    static char message[65536];
    struct sockaddr_in address = loopback(port);
    SSL_CTX *context = context_for(DTLS_client_method());
    int fd = open_socket();

    if (connect(fd, (struct sockaddr *)&address, sizeof address)) fail("connect");
    SSL *ssl = session(context, fd, &address);
    if (SSL_connect(ssl) != 1) fail("handshake");
    usleep(50000);
    double cpu = cpu_now(), start = wall_now();
    for (long done = 0; done < count; done++) SSL_write(ssl, message, size);
    cpu = cpu_now() - cpu;
    double elapsed = wall_now() - start;
    for (int done = 0; done < ENDS; done++) {
        usleep(50000);
        SSL_write(ssl, "end", 3);
    }
    printf("%ld %f %f\n", count, cpu, elapsed);
}

int main(int count, char **arguments) {
    if (count == 4 && !strcmp(arguments[1], "receive")) {
        receive(arguments[2], arguments[3]);
    } else if (count == 5 && !strcmp(arguments[1], "send")) {
        send_all(atoi(arguments[2]), atol(arguments[3]), atoi(arguments[4]));
    } else {
        fprintf(stderr, "usage: openssl_wire receive CERTIFICATE KEY | send PORT COUNT SIZE\n");
        return 2;
    }
    return 0;
}
