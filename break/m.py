from lib import *; import glob,sqlite3
for f in glob.glob('/tmp/brk/m.db*'): os.remove(f)
url='sqlite:///tmp/brk/m.db?mode=rwc'; a=Svc(url); b=Svc(url)
stop=threading.Event()
def vac():
    while not stop.is_set():
        try:
            c=sqlite3.connect('/tmp/brk/m.db',timeout=1); c.execute('PRAGMA wal_checkpoint(TRUNCATE)'); c.execute('VACUUM'); c.close()
        except Exception as e: pass
        time.sleep(.2)
t=threading.Thread(target=vac); t.start()
from collections import Counter
with ThreadPoolExecutor(32) as ex: r=list(ex.map(lambda i:(a if i%2 else b).call(f'e{i*7%300}@x',f'1{i*11%300}'),range(900)))
stop.set(); t.join()
print('sqlite 2 processes + VACUUM:',Counter(x[0] for x in r),[show(x) for x in r if x[0]!=200][:2])
c=sqlite3.connect('/tmp/brk/m.db'); print('identities',c.execute('select count(*) from Contact where linkedId is null').fetchall(), 'shared', c.execute("select count(*) from (select email from Contact where email is not null group by email having count(distinct coalesce(linkedId,id))>1)").fetchall())
# an exclusive holder for 7 s (a backup tool, DELETE journal switch)
c.execute('BEGIN IMMEDIATE'); b0=time.time(); 
th=threading.Timer(7,lambda: None); 
f=ThreadPoolExecutor(2); w=f.submit(a.call,'new@x',None); rd=f.submit(a.call,'e0@x',None); print('while write-locked: read',show(rd.result())[:40]); time.sleep(5); c.rollback(); print('write',show(w.result())[:80],round(time.time()-b0,1))
def raw(body,ct='application/json',path='/identify',m='POST',h={}):
    k=http.client.HTTPConnection('127.0.0.1',a.port); k.request(m,path,body,{**({'content-type':ct} if ct else {}),**h}); r=k.getresponse(); return r.status,r.read()[:150],dict(r.getheaders()).get('allow')
for x in [b'\xef\xbb\xbf{"email":"a@b"}',b'{"phoneNumber":1.0}',b'{"phoneNumber":123456789012345678901234567890123}',b'{"email":"\\u0000a@b"}',b'{"email":"a\\ud83d\\ude00@b"}',b'{"\\u0065mail":"a@b"}',b'{"email":"a@b","x":"\\ud800"}',b'{"email":"a@b","\\ud800":1}',b'{"email":"a@b","x":1,"x":2}',b'{"email":"a@b","x":"\xff"}',b'{"email":"","phoneNumber":""}',b'{"phoneNumber":null,"phone_number":5}',b'{"email":"a@b"}\x00',b'{"phoneNumber":0}',b'{"email":["a@b"]}',b'{"phoneNumber":"+"}',b'{"phoneNumber":"\xe2\x80\xaa+49 30\xc2\xa0123456\xe2\x80\xac"}']: print(x,raw(x))
print(raw(b'{"email":"a@b"}','text/plain'),raw(b'{"email":"a@b"}',None,'/contact/identify'),raw(None,None,'/identify','GET'),raw(None,None,'/identify/','GET'),raw(b'x','a/b','/nope'),raw(b'{}',h={'grpc-timeout':'1x'}))
a.stop(); b.stop()
