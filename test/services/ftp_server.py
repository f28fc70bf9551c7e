"""FTP with MLSD over explicit TLS. Arguments: port, folder, user, password, file of a certificate and its key in PEM."""

import sys

from pyftpdlib.authorizers import DummyAuthorizer
from pyftpdlib.handlers import TLS_FTPHandler
from pyftpdlib.servers import FTPServer

port, folder, user, password, certificate = sys.argv[1:]
authorizer = DummyAuthorizer()
authorizer.add_user(user, password, folder, perm="elradfmwMT")


class Handler(TLS_FTPHandler):
    certfile = certificate
    tls_control_required = True
    tls_data_required = True
    auth_failed_timeout = 0


Handler.authorizer = authorizer
# One thread: those of a threaded server share a working directory, and change it.
FTPServer(("127.0.0.1", int(port)), Handler).serve_forever()
