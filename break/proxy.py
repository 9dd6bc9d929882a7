import socket,threading,sys,select,signal
# TCP proxy; control: file /tmp/brk/ctl-<port> holds: "go <target>" ; existing connections are frozen when the word 'freeze' epoch increases
class P:
    def __init__(s,port,target): 
        s.target=target; s.frozen=set(); s.conns=[]; s.l=socket.socket(); s.l.setsockopt(socket.SOL_SOCKET,socket.SO_REUSEADDR,1); s.l.bind(('127.0.0.1',port)); s.l.listen(100); s.accepting=True
        threading.Thread(target=s.run,daemon=True).start()
    def run(s):
        while True:
            c,_=s.l.accept()
            try: u=socket.create_connection(('127.0.0.1',s.target))
            except OSError: c.close(); continue
            st={'frozen':False}; s.conns.append((c,u,st))
            for a,b in ((c,u),(u,c)): threading.Thread(target=s.pump,args=(a,b,st),daemon=True).start()
    def pump(s,a,b,st):
        import time
        try:
            while True:
                d=a.recv(65536)
                while st['frozen']: time.sleep(1)   # black hole: neither data nor FIN passes
                if not d: break
                b.sendall(d)
        except OSError: pass
        for x in (a,b):
            try: x.shutdown(2)
            except OSError: pass
    def blackhole(s):
        for _,_,st in s.conns: st['frozen']=True
